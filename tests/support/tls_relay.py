"""A relay that speaks TLS: what clients say goes on to a plain server, and back.

usage: tls_relay.py FOLDER HOST:PORT ADDRESS

FOLDER has the certificates of scripts/servers; a client must show one of their authority. HOST:PORT is
the plain server. Listens on ADDRESS, at a port that it prints. Ends when its stdin does.
"""
import os
import socket
import ssl
import sys
import threading

folder, (host, port), address = sys.argv[1], sys.argv[2].rsplit(":", 1), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
context.load_verify_locations(f"{folder}/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED


def move(source, target):
    try:
        while part := source.recv(65536):
            target.sendall(part)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    try:
        secure = context.wrap_socket(client, server_side=True)
        plain = socket.create_connection((host, int(port)))
    except OSError:  # ssl.SSLError is one: the client has been told why.
        client.close()
        return
    threading.Thread(target=move, args=(plain, secure), daemon=True).start()
    move(secure, plain)


def accept(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


listener = socket.create_server((address, 0))
threading.Thread(target=accept, args=(listener,), daemon=True).start()
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
os._exit(0)
