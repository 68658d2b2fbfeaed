"""Seeds or fetches one torrent with libtorrent; run by systems.py with an interpreter that has it.

    lt_helper.py make SOURCE TORRENT v1|v2 PIECE
    lt_helper.py seed TORRENT FOLDER IP:PORT
    lt_helper.py fetch TORRENT FOLDER IP:PORT PEER...

A fetch prints "done" once every piece is checked and flushed to the file, serves on until its standard input is closed, and
then ends at once. The settings are the fastest found for one machine: without the short tick alone every start takes 0.4 s
longer.
"""

import os
import sys

import libtorrent as lt

MIB = 1 << 20


def make(source, torrent, version, piece):
    """Writes the metafile of one file."""
    flag = lt.create_torrent.v2_only if version == "v2" else lt.create_torrent.v1_only
    files = lt.file_storage()
    lt.add_files(files, source)
    made = lt.create_torrent(files, int(piece), flag)
    lt.set_piece_hashes(made, os.path.dirname(source))
    with open(torrent, "wb") as file:
        file.write(lt.bencode(made.generate()))


def session(listen):
    """A session for one transfer as fast as possible: TCP in the clear, no limits, nothing that asks the network."""
    settings = dict(lt.high_performance_seed())
    settings.update(
        listen_interfaces=listen,
        enable_outgoing_utp=False,
        enable_incoming_utp=False,
        out_enc_policy=2,
        in_enc_policy=2,
        enable_dht=False,
        enable_lsd=False,
        enable_upnp=False,
        enable_natpmp=False,
        allow_multiple_connections_per_ip=True,
        upload_rate_limit=0,
        download_rate_limit=0,
        unchoke_slots_limit=64,
        max_out_request_queue=3000,
        max_allowed_in_request_queue=3000,
        send_buffer_watermark=5 * MIB,
        max_queued_disk_bytes=64 * MIB,
        aio_threads=2,
        hashing_threads=2,
        tick_interval=50,
        alert_mask=lt.alert.category_t.status_notification
        | lt.alert.category_t.storage_notification
        | lt.alert.category_t.error_notification,
    )
    return lt.session(settings)


def add(opened, torrent, folder, seed):
    """Adds the torrent, running at once."""
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    if seed:
        params.flags |= lt.torrent_flags.seed_mode
    return opened.add_torrent(params)


def fetch(torrent, folder, listen, peers):
    """Fetches from `peers`; returns when all is checked and flushed."""
    opened = session(listen)
    handle = add(opened, torrent, folder, False)
    for peer in peers:
        address, _, port = peer.rpartition(":")
        handle.connect_peer((address, int(port)))
    while True:
        opened.wait_for_alert(1000)
        for alert in opened.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                handle.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert) and handle.status().is_seeding:
                return opened
            elif isinstance(alert, (lt.torrent_error_alert, lt.file_error_alert, lt.hash_failed_alert)):
                sys.exit(f"error: {alert.message()}")


def main(words):
    """Does what the command line says."""
    match words:
        case ["make", source, torrent, version, piece]:
            make(source, torrent, version, piece)
        case ["seed", torrent, folder, listen]:
            opened = session(listen)
            add(opened, torrent, folder, True)
            while True:
                opened.wait_for_alert(3_600_000)
                opened.pop_alerts()
        case ["fetch", torrent, folder, listen, *peers]:
            opened = fetch(torrent, folder, listen, peers)
            print("done", flush=True)
            sys.stdin.read()
            os._exit(0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
