/*
 * The plugin interface: one exported symbol (a const struct sg_plugin), const tables in both directions. Not stable
 * yet: a call enters this header when two users need it, offsets are pinned after the data path was rebuilt for speed.
 *
 * Besides this header a plugin sees libskygate's (base, crypto, wire, loop). It keeps all state in the ctx that its
 * start() returns: plugins are never unloaded, so a static variable would survive a reload with stale contents.
 *
 * Threads: an instance belongs to one loop (host->loop), everything here is called on it and calls back on it.
 */
#ifndef SKYGATE_PLUGIN_H
#define SKYGATE_PLUGIN_H

#include <skygate/stream.h>
#include <skygate/types.h>

#define SG_ABI_MAJOR 0 /* another one is refused */
#define SG_ABI_MINOR 1 /* members were appended */

struct sg_inst; /* one running plugin, the host's */
struct sg_loop; /* loop/loop.h */
struct sg_addr; /* base/text.h */
struct sg_uci;  /* wire/uci.h: the whole configuration, parsed and validated */
struct sg_dial; /* one connection attempt, the host's */
struct json_t;  /* Jansson */

/* ---- what a plugin provides ---------------------------------------------------------------------------------- */

enum sg_interface { SG_PROVIDE_END = 0, SG_CARRIER, SG_APP, SG_NETWORK, SG_STORE };

struct sg_provide {
	enum sg_interface kind;
	const char *name; /* of a carrier: the transport type on the wire, "stcp" */
	const void *ops;  /* struct sg_carrier_ops, sg_network_ops, sg_store_ops; NULL for SG_APP */
};

/*
 * A carrier makes connections to neighbours. Raw ones are descriptors, which core secures, settles and frames; secured ones
 * are streams that prove the other end's key (sg_stream_ops.info), which core settles and sends packets over as they are.
 */
struct sg_carrier_ops {
	uint32_t size;
	/*
	 * Connects to @to for @dial, or, where @to is NULL, to wherever @pk is found; both borrowed. Must end in
	 * host->dial_done or dial_done_stream exactly once, never inside this call, unless cancelled. 0 or a negative code.
	 */
	int (*dial)(
		void *ctx, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial);
	/* Gives up: neither of them follows. */
	void (*cancel)(void *ctx, struct sg_dial *dial);
	bool secured; /* it brings streams */
};

/* A network gives streams by key and port: "dmsg". */
typedef void sg_dialed_fn(void *arg, struct sg_stream *stream, int err, const char *why);
struct sg_listener_ops;

struct sg_network_ops {
	uint32_t size;
	/* Ends in @done once, never inside this call. 0 or a negative code. */
	int (*dial)(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg);
	/* All dials with that arg; their call-backs do not follow. */
	void (*dial_cancel)(void *ctx, void *arg);
	/* -EADDRINUSE when the port is taken. @ops and @arg are kept. */
	int (*listen)(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg);
	void (*unlisten)(void *ctx, uint16_t port);
};

/*
 * A store keeps ordered keys and values over a restart. Whoever uses one (host->store_get and its kin) sees keys of its
 * own only. Keys are compared as bytes.
 */
#define SG_STORE_KEY_MAX    256                /* bytes */
#define SG_STORE_VALUE_MAX  (256 * 1024)       /* bytes */
#define SG_STORE_BATCH_MAX  256                /* changes of one write */
#define SG_STORE_PAGE_MAX   256                /* pairs of one answer */
#define SG_STORE_PAGE_BYTES SG_STORE_VALUE_MAX /* of values in one answer; a single one is never too long */

enum { SG_STORE_DURABLE = 1 }; /* answered when it is on disk; others wait a while there for company */

struct sg_store_pair {
	struct sg_view key, value;
};

struct sg_store_change {
	struct sg_view key, value;
	bool remove;   /* the key; value and ttl_s are not looked at */
	int64_t ttl_s; /* gone after so many seconds; 0: stays */
};

/*
 * Ends a question, once, never inside the call that asked. Pairs are borrowed; @more: others follow behind the last one,
 * whose key and a zero byte is where to go on.
 */
typedef void sg_store_fn(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more);
/* Something was written or removed under @key. That a key's time is over is not told. */
typedef void sg_store_watch_fn(void *arg, struct sg_view key);

/*
 * What a store provides. Each call ends in host->store_done with @id, later; in the order of the calls, so that an answer
 * shows what was written before it was asked for. All arguments are borrowed. 0, or a negative code: then nothing follows.
 */
struct sg_store_ops {
	uint32_t size;
	/* Keys that begin with @prefix, from @from on (inclusive), at most @limit, none whose time is over at @now_s. */
	int (*scan)(void *ctx, uint64_t id, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s);
	/* All changes, in their order, or none. */
	int (*write)(
		void *ctx, uint64_t id, const struct sg_store_change *changes, size_t n, unsigned flags, int64_t now_s);
};

/* Who this visor is, for those who speak for it on a network. Borrowed, for the life of the instance. */
struct sg_crypto;
struct sg_identity {
	const struct sg_crypto *crypto;
	const struct sg_pk *pk;
	const struct sg_sk *sk;
};

/* What the dmsg discovery knows of a key: a server and its address, or a client and its servers. */
struct sg_disc_entry {
	struct sg_pk pk;
	bool is_server;
	char address[64];
	size_t n_servers;
	struct sg_pk servers[16];
};

/* Ends a question to the discovery, once, never inside the call that asked. Entries borrowed; @why is a sentence. */
typedef void sg_disc_fn(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why);

/* Ends a question to the address resolver, once, never inside the call that asked. Borrowed; in the order to dial. */
typedef void sg_resolved_fn(void *arg, int err, const struct sg_addr *addrs, size_t n, const char *why);

/* ---- options: the host validates the whole file before anything starts ---------------------------------------- */

enum sg_option_type {
	SG_OPT_STRING,
	SG_OPT_BOOL, /* 0 1 off on no yes false true */
	SG_OPT_UINT, /* min..max */
	SG_OPT_ENUM, /* one of accepted, separated by spaces */
	SG_OPT_PK,   /* 66 hex digits, a valid key */
	SG_OPT_IP4,
	SG_OPT_PREFIX4, /* 172.16.0.0/12 */
	SG_OPT_ADDR,    /* 192.0.2.1:7777, [::]:7777 */
	SG_OPT_URL,     /* carrier://host:port, or a carrier that finds visors by key */
	SG_OPT_IFNAME,  /* 1..15 characters as the kernel takes them */
	SG_OPT_PATH,    /* absolute */
	SG_OPT_USER,    /* name or number, never 0 nor root */
	SG_OPT_NAME     /* of a section of the type that accepted names */
};

enum { SG_OPT_LIST = 1, SG_OPT_REQUIRED = 2, SG_OPT_SECRET = 4, SG_OPT_OR_PK = 8 }; /* OR_PK: a name, or a key */

struct sg_option {
	const char *section; /* NULL ends the table */
	const char *name;    /* NULL: the section itself, see below */
	enum sg_option_type type;
	unsigned flags;
	const char *accepted; /* of SG_OPT_ENUM and SG_OPT_NAME */
	const char *def;      /* text of the default, NULL: none */
	uint64_t min, max;    /* of SG_OPT_UINT; max also of SG_OPT_STRING: bytes, 0 for any number */
	const char *help;     /* one line */
			      /*
	 * A row without a name speaks of the section: help says what it is for; SG_OPT_REQUIRED, it must be there;
	 * unless SG_OPT_LIST it is there once at most.
	 */
};

/* ---- control methods and counters ------------------------------------------------------------------------------ */

struct sg_method {
	const char *name; /* as in wire/methods.h; NULL ends the table */
	/*
	 * Fills *@result (new reference) and returns 0, or a negative code with a sentence in @why.
	 * @params: an object, borrowed, checked against the method's row.
	 */
	int (*call)(void *ctx, struct json_t *params, struct json_t **result, char *why, size_t why_cap);
};

struct sg_counter {
	const char *name; /* "vpn.drop.source"; NULL ends the table */
	size_t offset;    /* of a uint64_t in what start() returned as ctx */
	const char *help;
};

/* ---- what the host offers ---------------------------------------------------------------------------------------- */

enum sg_tun_role { SG_TUN_CLIENT = 0, SG_TUN_SERVER = 1 };

/* no VPN: "armed", the LAN stays blocked · a VPN · the LAN may leave without protection, as the owner said aloud */
enum sg_want { SG_WANT_NOT = 0, SG_WANT_VPN = 1, SG_WANT_OPEN = 2 };

/* What netd knows of the TUN it opened: descriptor (now yours) or a negative code with a reason. */
struct sg_tun {
	int fd; /* non-blocking, IFF_NO_PI | IFF_VNET_HDR */
	char name[16];
	uint16_t mtu;
	bool offload; /* the kernel takes TUNSETOFFLOAD with TSO */
	/* IPv4 networks of this machine that a lease must not overlap; server: those within the pool. */
	size_t n_busy;
	struct {
		uint32_t net;
		uint8_t bits;
	} busy[64];
};

typedef void sg_tun_fn(void *arg, int err, const struct sg_tun *tun, const char *why);
typedef void sg_done_fn(void *arg, int err);

struct sg_listener_ops {
	uint32_t size;
	/* A stream arrived on our port: accept by setting its user (sg_stream_user) and return 0; a negative code refuses. */
	int (*on_stream)(void *arg, struct sg_stream *stream);
};

struct sg_peer_state {
	struct sg_pk pk;
	bool linked; /* a transport is up */
	char carrier[8];
	char address[64];
	uint32_t attempts;   /* since the last success */
	int64_t next_try_ms; /* until the next attempt, -1: none planned */
	char why[160];       /* the last failure, a sentence; "" when linked */
};

struct sg_host {
	uint32_t size;
	struct sg_loop *(*loop)(struct sg_inst *);
	const struct sg_uci *(*conf)(struct sg_inst *);
	const struct sg_pk *(*own_pk)(struct sg_inst *);

	/* Carriers. The descriptors are handed over: non-blocking, connected. */
	void (*accepted)(struct sg_inst *, const char *carrier, int fd, const struct sg_addr *from);
	void (*dial_done)(struct sg_dial *, int fd_or_error, const char *why);
	/* The same with secured streams, handed over as well: their user is set inside the call, or they are closed. */
	void (*accepted_stream)(struct sg_inst *, const char *carrier, struct sg_stream *stream);
	void (*dial_done_stream)(struct sg_dial *, struct sg_stream *stream);
	/* Congestion control and queue limits that ordinary users may not choose; before connect or on a listener. */
	int (*tune_socket)(struct sg_inst *, int fd, sg_done_fn *done, void *arg);

	/* Streams by key and port. listen: -EADDRINUSE when the port is taken. */
	int (*listen)(struct sg_inst *, uint16_t port, const struct sg_listener_ops *, void *arg);
	int (*dial)(struct sg_inst *, const struct sg_pk *, uint16_t port, sg_dialed_fn *, void *arg);
	/* The same over at least @min_hops transports; above 1 never direct. */
	int (*dial_hops)(
		struct sg_inst *, const struct sg_pk *, uint16_t port, unsigned min_hops, sg_dialed_fn *, void *arg);
	void (*dial_cancel)(
		struct sg_inst *, void *arg); /* of all dials with that arg; their call-backs do not follow */

	/* Peers of the configuration: key by section name; how the link to a key stands. -ENOENT: no such peer. */
	int (*peer_find)(struct sg_inst *, const char *section, struct sg_pk *out);
	int (*peer_state)(struct sg_inst *, const struct sg_pk *, struct sg_peer_state *out);

	/* The kernel, through netd. -ENOTSUP: this skygated runs without netd. */
	int (*tun_open)(struct sg_inst *, enum sg_tun_role, sg_tun_fn *, void *arg);
	/* Client: the address that the exit leased; 0, 0 gives it back. Addresses in host order, prefix length 29. */
	int (*lease_set)(struct sg_inst *, uint32_t address, uint32_t gateway, sg_done_fn *done, void *arg);
	/* Client: traffic has a proven path, or none. */
	int (*path_set)(struct sg_inst *, bool up);
	/* Client: what the owner asks for; SG_WANT_VPN is "blocking" until path_set(true). */
	int (*want_set)(struct sg_inst *, enum sg_want want);

	/* For networks: our keys; the dmsg discovery, of which what the configuration knows is answered without asking. */
	const struct sg_identity *(*identity)(struct sg_inst *);
	int (*disc_entry)(struct sg_inst *, const struct sg_pk *, sg_disc_fn *, void *arg);
	int (*disc_servers)(struct sg_inst *, sg_disc_fn *, void *arg);
	void (*disc_cancel)(struct sg_inst *, void *arg);
	/* The servers where others find us now: our entry is signed and kept up to date with them. */
	void (*disc_update)(struct sg_inst *, const struct sg_pk *servers, size_t n);

	/*
	 * For carriers whose addresses are found by key: the address resolver. bind: others find @port of this carrier from
	 * now on; it is kept bound, retried and repeated; 0 takes it back.
	 */
	int (*resolve)(struct sg_inst *, const char *carrier, const struct sg_pk *, sg_resolved_fn *, void *arg);
	void (*resolve_cancel)(struct sg_inst *, void *arg);
	int (*bind)(struct sg_inst *, const char *carrier, uint16_t port);
	/* For networks: a server of theirs sees our connections come from there. */
	void (*seen_at)(struct sg_inst *, const struct sg_addr *);
	/* For apps that others may use: @port is listed as @type ("vpn") at the service discovery; 0 takes it back. */
	int (*offer)(struct sg_inst *, const char *type, uint16_t port);

	/*
	 * The store; see sg_store_fn. get ends with one pair or -ENOENT; @done may be NULL. cancel: the call-backs of all
	 * questions and watches with that arg do not follow; what was to be written is written.
	 */
	int (*store_get)(struct sg_inst *, struct sg_view key, sg_store_fn *, void *arg);
	int (*store_scan)(
		struct sg_inst *, struct sg_view prefix, struct sg_view from, size_t limit, sg_store_fn *, void *arg);
	int (*store_write)(struct sg_inst *, const struct sg_store_change *, size_t n, unsigned flags, sg_done_fn *done,
		void *arg);
	int (*store_watch)(struct sg_inst *, struct sg_view prefix, sg_store_watch_fn *, void *arg);
	void (*store_cancel)(struct sg_inst *, void *arg);
	/* For those who provide one: the directory for what outlives a restart; the end of a question, whose pairs may be changed. */
	const char *(*state_dir)(struct sg_inst *);
	void (*store_done)(struct sg_inst *, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more);

	/* Ends stop(): nothing of the instance is in flight any more. */
	void (*stopped)(struct sg_inst *);
};

/* ---- the descriptor ------------------------------------------------------------------------------------------------ */

struct sg_plugin {
	uint32_t abi_major, abi_minor;
	uint32_t size; /* of this struct where the plugin was built */
	const char *name, *version, *summary;
	const struct sg_provide *provides;
	const struct sg_option *options;   /* may be NULL */
	const struct sg_method *methods;   /* may be NULL */
	const struct sg_counter *counters; /* may be NULL */
	/* 0 and *ctx, or a negative code with a sentence in @why. Must leave nothing behind on an error. */
	int (*start)(const struct sg_host *, struct sg_inst *, void **ctx, char *why, size_t why_cap);
	/* The configuration changed (host->conf): 0 applied, -ENOTSUP: stop and start me. NULL: as -ENOTSUP. */
	int (*reload)(void *ctx);
	/* Begins; ends with host->stopped, inside or later. */
	void (*stop)(void *ctx);
};

/*
 * SG_PLUGIN(transport_tcp) = { … };  is the one symbol of a shared object, or, linked into the program, a symbol of
 * that name.
 */
#ifdef SG_PLUGIN_STATIC
#define SG_PLUGIN(id) const struct sg_plugin sg_plugin_##id
#else
#define SG_PLUGIN(id) __attribute__((visibility("default"))) const struct sg_plugin sg_plugin_desc
extern const struct sg_plugin sg_plugin_desc;
#endif

#define SG_PLUGIN_HEAD .abi_major = SG_ABI_MAJOR, .abi_minor = SG_ABI_MINOR, .size = sizeof(struct sg_plugin)

#endif
