# Caddy as a user of its own: a named volume begins with the owner that its folder has in the image.
FROM caddy:2.10-alpine
RUN adduser -S -D -H -u 10002 -s /sbin/nologin caddy && chown -R 10002:10002 /data /config
USER 10002:10002
