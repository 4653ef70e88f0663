# Caddy as a user of its own: a named volume begins with the owner that its folder has in the image.
FROM caddy:2.10-alpine
RUN chown -R 10002:10002 /data /config
USER 10002:10002
