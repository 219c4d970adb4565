/*
 * Version 1 of the plugin interface, pinned: what a plugin of 1.0 was built with stays where it is. All of it is checked
 * while compiling, for many machines (tests/abi/sizes): 32 and 64 bit, both byte orders.
 *
 * Offsets count in pointers (P), so that one row holds for all. A minor version adds members at the end of a struct that
 * begins with its size: new rows here, and a new SIZE; no row changes.
 */
#include <skygate/plugin.h>

/* What a 64-bit number is aligned to within a struct: 4 on i386, 8 elsewhere. */
struct align64 {
	char c;
	int64_t number;
};

#define P               sizeof(void *)
#define ROUND(n, to)    (((n) + (to)-1) / (to) * (to))
#define ROUND64(n)      ROUND(n, offsetof(struct align64, number))
#define AT(s, m, n)     _Static_assert(offsetof(struct s, m) == (n), #s "." #m " has moved")
#define SIZE(s, n)      _Static_assert(sizeof(struct s) == (n), #s " has another size")
#define NUMBER(name, n) _Static_assert((name) == (n), #name " has another meaning")

/* ---- values ------------------------------------------------------------------------------------------------------ */

#define BYTES(s, n)                                                                                                    \
	SIZE(s, n);                                                                                                    \
	_Static_assert(_Alignof(struct s) == 1, #s " is its bytes")

BYTES(sg_pk, 33);
BYTES(sg_sk, 32);
BYTES(sg_sig, 65);
BYTES(sg_tpid, 16);
SIZE(sg_mono, 8);
AT(sg_view, p, 0);
AT(sg_view, len, P);
SIZE(sg_view, 2 * P);
_Static_assert(sizeof(struct iovec) == 2 * P, "bytes of a send");

/* ---- streams ----------------------------------------------------------------------------------------------------- */

AT(sg_stream, ops, 0);
AT(sg_stream, user, P);
AT(sg_stream, user_arg, 2 * P);
SIZE(sg_stream, 3 * P); /* for ever: networks put it into what is theirs */
AT(sg_stream_ops, size, 0);
AT(sg_stream_ops, send, P);
AT(sg_stream_ops, want, 2 * P);
AT(sg_stream_ops, close, 3 * P);
AT(sg_stream_ops, info, 4 * P);
AT(sg_stream_ops, allow, 5 * P);
SIZE(sg_stream_ops, 6 * P);
AT(sg_stream_user, size, 0);
AT(sg_stream_user, on_data, P);
AT(sg_stream_user, on_writable, 2 * P);
AT(sg_stream_user, on_close, 3 * P);
AT(sg_stream_user, on_batch_end, 4 * P);
SIZE(sg_stream_user, 5 * P);
AT(sg_stream_info, remote, 0);
AT(sg_stream_info, records, 33);
AT(sg_stream_info, port, 34);
AT(sg_stream_info, carrier, 36);
AT(sg_stream_info, network, ROUND(44, P));
AT(sg_stream_info, rtt_us, ROUND64(ROUND(44, P) + P));
SIZE(sg_stream_info, ROUND64(ROUND(44, P) + P) + 8);
NUMBER(SG_STREAM_IOV, 40);
NUMBER(SG_CARRIER_NAME_MAX, 7);

/* ---- the descriptor ------------------------------------------------------------------------------------------------ */

/* The three numbers that a loader reads of a plugin that it may have to refuse are there for ever, in every major version. */
AT(sg_plugin, abi_major, 0);
AT(sg_plugin, abi_minor, 4);
AT(sg_plugin, size, 8);
#define TEXTS ROUND(12, P)
AT(sg_plugin, name, TEXTS);
AT(sg_plugin, version, TEXTS + P);
AT(sg_plugin, summary, TEXTS + 2 * P);
AT(sg_plugin, provides, TEXTS + 3 * P);
AT(sg_plugin, options, TEXTS + 4 * P);
AT(sg_plugin, methods, TEXTS + 5 * P);
AT(sg_plugin, counters, TEXTS + 6 * P);
AT(sg_plugin, start, TEXTS + 7 * P);
AT(sg_plugin, reload, TEXTS + 8 * P);
AT(sg_plugin, stop, TEXTS + 9 * P);
SIZE(sg_plugin, TEXTS + 10 * P);
NUMBER(SG_ABI_MAJOR, 1);

/* ---- rows: they never change --------------------------------------------------------------------------------------- */

AT(sg_provide, kind, 0);
AT(sg_provide, name, P);
AT(sg_provide, ops, 2 * P);
SIZE(sg_provide, 3 * P);
AT(sg_option, section, 0);
AT(sg_option, name, P);
AT(sg_option, type, 2 * P);
AT(sg_option, flags, 2 * P + 4);
AT(sg_option, accepted, 2 * P + 8);
AT(sg_option, def, 3 * P + 8);
AT(sg_option, min, 4 * P + 8);
AT(sg_option, max, 4 * P + 16);
AT(sg_option, help, 4 * P + 24);
SIZE(sg_option, ROUND64(5 * P + 24));
AT(sg_method, name, 0);
AT(sg_method, call, P);
SIZE(sg_method, 2 * P);
AT(sg_counter, name, 0);
AT(sg_counter, offset, P);
AT(sg_counter, help, 2 * P);
SIZE(sg_counter, 3 * P);
AT(sg_store_pair, key, 0);
AT(sg_store_pair, value, 2 * P);
SIZE(sg_store_pair, 4 * P);
AT(sg_store_change, key, 0);
AT(sg_store_change, value, 2 * P);
AT(sg_store_change, remove, 4 * P);
AT(sg_store_change, ttl_s, ROUND64(4 * P + 1));
SIZE(sg_store_change, ROUND64(4 * P + 1) + 8);
AT(sg_disc_entry, pk, 0);
AT(sg_disc_entry, is_server, 33);
AT(sg_disc_entry, address, 34);
AT(sg_disc_entry, n_servers, ROUND(98, P));
AT(sg_disc_entry, servers, ROUND(98, P) + P);
SIZE(sg_disc_entry, ROUND(98, P) + P + 528);

/* ---- calls of what a plugin provides ------------------------------------------------------------------------------- */

AT(sg_carrier_ops, size, 0);
AT(sg_carrier_ops, flags, 4);
AT(sg_carrier_ops, dial, 8);
AT(sg_carrier_ops, cancel, 8 + P);
SIZE(sg_carrier_ops, 8 + 2 * P);
AT(sg_listener_ops, size, 0);
AT(sg_listener_ops, on_stream, P);
SIZE(sg_listener_ops, 2 * P);
AT(sg_network_ops, size, 0);
AT(sg_network_ops, dial, P);
AT(sg_network_ops, dial_cancel, 2 * P);
AT(sg_network_ops, listen, 3 * P);
AT(sg_network_ops, unlisten, 4 * P);
SIZE(sg_network_ops, 5 * P);
AT(sg_store_ops, size, 0);
AT(sg_store_ops, scan, P);
AT(sg_store_ops, write, 2 * P);
SIZE(sg_store_ops, 3 * P);

/* ---- the host ------------------------------------------------------------------------------------------------------ */

AT(sg_host, size, 0);
AT(sg_host, loop, P);
AT(sg_host, conf, 2 * P);
AT(sg_host, own_pk, 3 * P);
AT(sg_host, accepted, 4 * P);
AT(sg_host, dial_done, 5 * P);
AT(sg_host, accepted_stream, 6 * P);
AT(sg_host, dial_done_stream, 7 * P);
AT(sg_host, tune_socket, 8 * P);
AT(sg_host, listen, 9 * P);
AT(sg_host, dial, 10 * P);
AT(sg_host, dial_cancel, 11 * P);
AT(sg_host, peer_find, 12 * P);
AT(sg_host, peer_state, 13 * P);
AT(sg_host, tun_open, 14 * P);
AT(sg_host, lease_set, 15 * P);
AT(sg_host, path_set, 16 * P);
AT(sg_host, want_set, 17 * P);
AT(sg_host, identity, 18 * P);
AT(sg_host, disc_entry, 19 * P);
AT(sg_host, disc_servers, 20 * P);
AT(sg_host, disc_cancel, 21 * P);
AT(sg_host, disc_update, 22 * P);
AT(sg_host, resolve, 23 * P);
AT(sg_host, resolve_cancel, 24 * P);
AT(sg_host, resolve_bind, 25 * P);
AT(sg_host, seen_at, 26 * P);
AT(sg_host, offer, 27 * P);
AT(sg_host, store_get, 28 * P);
AT(sg_host, store_scan, 29 * P);
AT(sg_host, store_write, 30 * P);
AT(sg_host, store_watch, 31 * P);
AT(sg_host, store_cancel, 32 * P);
AT(sg_host, state_dir, 33 * P);
AT(sg_host, store_done, 34 * P);
AT(sg_host, stopped, 35 * P);
SIZE(sg_host, 36 * P);

AT(sg_identity, size, 0);
AT(sg_identity, crypto, P);
AT(sg_identity, pk, 2 * P);
AT(sg_identity, sk, 3 * P);
SIZE(sg_identity, 4 * P);
AT(sg_tun, size, 0);
AT(sg_tun, fd, 4);
AT(sg_tun, name, 8);
AT(sg_tun, mtu, 24);
AT(sg_tun, offload, 26);
AT(sg_tun, n_busy, 28);
AT(sg_tun, busy, 32);
AT(sg_tun, busy[0].bits, 36);
AT(sg_tun, busy[1], 40);
SIZE(sg_tun, 32 + 64 * 8);
AT(sg_peer_state, pk, 0);
AT(sg_peer_state, linked, 33);
AT(sg_peer_state, carrier, 34);
AT(sg_peer_state, address, 42);
AT(sg_peer_state, attempts, 108);
AT(sg_peer_state, next_try_ms, 112);
AT(sg_peer_state, why, 120);
SIZE(sg_peer_state, 280);

/* ---- numbers ------------------------------------------------------------------------------------------------------- */

_Static_assert(sizeof(enum sg_interface) == 4 && sizeof(enum sg_option_type) == 4, "enums are 32 bits");
_Static_assert(sizeof(enum sg_tun_role) == 4 && sizeof(enum sg_want) == 4, "enums are 32 bits");
_Static_assert(sizeof(bool) == 1, "a bool is a byte");
NUMBER(SG_PROVIDE_END, 0);
NUMBER(SG_CARRIER, 1);
NUMBER(SG_APP, 2);
NUMBER(SG_NETWORK, 3);
NUMBER(SG_STORE, 4);
NUMBER(SG_CARRIER_SECURED, 1);
NUMBER(SG_STORE_DURABLE, 1);
NUMBER(SG_STORE_KEY_MAX, 256);
NUMBER(SG_STORE_VALUE_MAX, 262144);
NUMBER(SG_STORE_BATCH_MAX, 256);
NUMBER(SG_STORE_PAGE_MAX, 256);
NUMBER(SG_STORE_PAGE_BYTES, 262144);
NUMBER(SG_OPT_STRING, 0);
NUMBER(SG_OPT_BOOL, 1);
NUMBER(SG_OPT_UINT, 2);
NUMBER(SG_OPT_ENUM, 3);
NUMBER(SG_OPT_PK, 4);
NUMBER(SG_OPT_IP4, 5);
NUMBER(SG_OPT_PREFIX4, 6);
NUMBER(SG_OPT_ADDR, 7);
NUMBER(SG_OPT_URL, 8);
NUMBER(SG_OPT_IFNAME, 9);
NUMBER(SG_OPT_PATH, 10);
NUMBER(SG_OPT_USER, 11);
NUMBER(SG_OPT_NAME, 12);
NUMBER(SG_OPT_LIST, 1);
NUMBER(SG_OPT_REQUIRED, 2);
NUMBER(SG_OPT_SECRET, 4);
NUMBER(SG_OPT_OR_PK, 8);
NUMBER(SG_TUN_CLIENT, 0);
NUMBER(SG_TUN_SERVER, 1);
NUMBER(SG_WANT_NOT, 0);
NUMBER(SG_WANT_VPN, 1);
NUMBER(SG_WANT_OPEN, 2);
