#!/bin/sh
# Gets and renews the certificate of ASEAGI_PUBLIC_NAME by way of nginx, and lays it where nginx reads it.
# Let's Encrypt limits failures to five an hour: after one, an hour's pause.
set -u
name=${ASEAGI_PUBLIC_NAME:?}
live=/etc/letsencrypt/live/$name

lay_down() {  # key first: nginx reads both only when it is told to
    [ -e "$live/fullchain.pem" ] || return 1
    for file in privkey.pem fullchain.pem; do
        install -m 0600 "$live/$file" "/tls/.$file" && mv "/tls/.$file" "/tls/$file"
    done
}

while :; do
    if [ -e "$live/fullchain.pem" ]; then
        certbot renew --quiet --webroot -w /acme && lay_down
        sleep 12h
    elif certbot certonly --quiet --non-interactive --agree-tos --register-unsafely-without-email \
        --webroot -w /acme -d "$name"; then
        lay_down
    else
        sleep 1h
    fi
done
