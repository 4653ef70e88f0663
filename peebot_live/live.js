"use strict";
// Replaces what has changed. The server has escaped it; EventSource connects again by itself.
const news = new EventSource("events");
const connection = document.getElementById("connection");
news.onopen = () => { connection.textContent = ""; };
news.onerror = () => { connection.textContent = "The page has lost its server and tries again."; };
news.onmessage = (message) => {
  for (const [id, html] of Object.entries(JSON.parse(message.data))) {
    document.getElementById(id).innerHTML = html;
  }
};
