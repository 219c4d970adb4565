/*
 * The plugin interface, version 1: one exported symbol (a const struct sg_plugin), const tables in both directions.
 *
 * Besides this header a plugin sees libskygate's (base, crypto, wire, loop), which its soname has a version for. It keeps
 * all state in the ctx that its start() returns: plugins are never unloaded, so a static variable would survive a reload
 * with stale contents.
 *
 * Threads: an instance belongs to one loop (host->loop); every call in either direction is made on it.
 * Errors:  0 or a negative code (base/err.h). A question that was refused with a code is not answered as well.
 * Owners:  arguments are borrowed for the call; where it is otherwise, "taken" (no longer yours) or "kept" (must outlive)
 *          stands there. A call-back's arg is kept until it came or was called off. Texts end with a zero byte.
 *
 * What may change within version 1, and what never does (tests/abi/sizes.c and versions.c hold it):
 *  - A struct that begins with its size grows at its end, and the minor version with it. Whoever reads a member that is
 *    younger than 1.0 asks SG_HAS first.
 *  - Rows (sg_provide, sg_option, sg_method, sg_counter, sg_store_pair, sg_store_change, sg_disc_entry, sg_addr), keys and
 *    struct sg_stream stay as they are. What a row lacks comes as another table at the end of sg_plugin.
 *  - sg_stream_info and sg_peer_state grow too: the caller says how much of one he knows.
 *  - Numbers of enums and flags keep their meaning; new ones are added.
 */
#ifndef SKYGATE_PLUGIN_H
#define SKYGATE_PLUGIN_H

#include <skygate/stream.h>
#include <skygate/types.h>

#define SG_ABI_MAJOR 1 /* another one is refused */
#define SG_ABI_MINOR 1 /* grows when something is added */

struct sg_inst; /* one running plugin, the host's; valid from start() until host->stopped */
struct sg_loop; /* loop/loop.h */
struct sg_addr; /* base/text.h */
struct sg_uci;  /* wire/uci.h: the whole configuration, parsed and validated */
struct sg_dial; /* one connection attempt, the host's; valid until it ended or was called off */
struct json_t;  /* Jansson */

/* ---- what a plugin provides ---------------------------------------------------------------------------------- */

enum sg_interface {
	SG_PROVIDE_END = 0, /* of the table */
	SG_CARRIER,         /* links to neighbours */
	SG_APP,             /* uses streams, answers on ports */
	SG_NETWORK,         /* streams by key and port */
	SG_STORE            /* what outlives a restart; one plugin at most */
};

/* A row of what it provides. All of it is static. */
struct sg_provide {
	enum sg_interface kind;
	const char *name; /* of a carrier: the transport type on the wire, "stcp"; one plugin at most has it */
	const void *ops;  /* struct sg_carrier_ops, sg_network_ops, sg_store_ops; NULL for SG_APP */
};

enum { SG_CARRIER_SECURED = 1 }; /* it brings streams that prove the other end's key, no descriptors */

/*
 * A carrier makes connections to neighbours. Raw ones are descriptors, which core secures, settles and frames; secured ones
 * are streams that prove the other end's key (sg_stream_ops.info), which core settles and sends packets over as they are.
 * It listens where its section of the configuration says, and gives what arrives to host->accepted or accepted_stream.
 */
struct sg_carrier_ops {
	uint32_t size;
	uint32_t flags; /* SG_CARRIER_… */
	/*
	 * Connects to @to or, where that is NULL, to wherever @pk is found. 0: ends in host->dial_done or dial_done_stream
	 * exactly once, never inside this call, unless cancelled. A negative code: cannot be tried.
	 */
	int (*dial)(
		void *ctx, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial);
	/* Gives up what is under way: nothing follows, @dial is gone after this call. */
	void (*cancel)(void *ctx, struct sg_dial *dial);
};

/*
 * Ends a dial by key, once: a stream (0), whose user is set inside the call, or it is closed; or NULL with a negative code
 * and a sentence in @why.
 */
typedef void sg_dialed_fn(void *arg, struct sg_stream *stream, int err, const char *why);

/* What arrives on a port. Kept as long as somebody listens with it. */
struct sg_listener_ops {
	uint32_t size;
	/* Accept by setting the stream's user and returning 0. A negative code, or no user: it is refused. */
	int (*on_stream)(void *arg, struct sg_stream *stream);
};

/* A network gives streams by key and port: "dmsg". */
struct sg_network_ops {
	uint32_t size;
	/* Ends in @done once, never inside this call, unless cancelled. 0 or a negative code. */
	int (*dial)(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg);
	/* Gives up all dials with that arg: nothing follows. */
	void (*dial_cancel)(void *ctx, void *arg);
	/* Streams to @port of ours go to @ops, which is kept, as is @arg. 0, -EADDRINUSE or another negative code. */
	int (*listen)(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg);
	/* No new ones; those that are open live on. */
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

/* A row of an answer. */
struct sg_store_pair {
	struct sg_view key, value;
};

/* A row of a write. */
struct sg_store_change {
	struct sg_view key, value;
	bool remove;   /* the key; value and ttl_s are not looked at */
	int64_t ttl_s; /* gone after so many seconds; 0: stays */
};

/*
 * Ends a question, once, never inside the call that asked. @err 0 or a negative code, then without pairs. @more: others
 * follow behind the last one, whose key and a zero byte is where to go on.
 */
typedef void sg_store_fn(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more);
/* Something was written or removed under @key. That a key's time is over is not told. */
typedef void sg_store_watch_fn(void *arg, struct sg_view key);

/*
 * What a store provides. Each call ends in host->store_done with @id, later; in the order of the calls, so that an answer
 * shows what was written before it was asked for. 0, or a negative code: then nothing follows.
 */
struct sg_store_ops {
	uint32_t size;
	/* Keys that begin with @prefix, from @from on (inclusive), at most @limit, none whose time is over at @now_s. */
	int (*scan)(void *ctx, uint64_t id, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s);
	/* All changes, in their order, or none. @flags: SG_STORE_DURABLE. @now_s: seconds since 1970, which a life begins at. */
	int (*write)(
		void *ctx, uint64_t id, const struct sg_store_change *changes, size_t n, unsigned flags, int64_t now_s);
};

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

enum {
	SG_OPT_LIST = 1,     /* list NAME, any number of times */
	SG_OPT_REQUIRED = 2, /* the section is not valid without it */
	SG_OPT_SECRET = 4,   /* no message quotes its value */
	SG_OPT_OR_PK = 8     /* of SG_OPT_NAME: a name, or a key */
};

/*
 * A row of what may stand in the configuration. One without a name speaks of the section: help says what it is for;
 * SG_OPT_REQUIRED, it must be there; unless SG_OPT_LIST it is there once at most. All of it is static.
 */
struct sg_option {
	const char *section; /* NULL ends the table */
	const char *name;    /* NULL: the section itself */
	enum sg_option_type type;
	unsigned flags;       /* SG_OPT_LIST and its kin */
	const char *accepted; /* of SG_OPT_ENUM and SG_OPT_NAME */
	const char *def;      /* text of the default, NULL: none */
	/*
	 * Of SG_OPT_UINT: the range. max also, 0 for any: of SG_OPT_STRING bytes; of SG_OPT_PREFIX4, with min, its length in
	 * bits; of a list of other types how many values.
	 */
	uint64_t min, max;
	const char *help; /* one line */
};

/* ---- control methods and counters ------------------------------------------------------------------------------ */

/* A row of what it answers on the control socket. */
struct sg_method {
	const char *name; /* a row of wire/methods.h names it and this plugin; NULL ends the table */
	/*
	 * Fills *@result (new reference) and returns 0, or a negative code with a sentence in @why, @why_cap bytes.
	 * @params: an object, checked against the method's row.
	 */
	int (*call)(void *ctx, struct json_t *params, struct json_t **result, char *why, size_t why_cap);
};

/* A row of what skygate counter ls shows. */
struct sg_counter {
	const char *name; /* "vpn.drop.source"; NULL ends the table */
	size_t offset;    /* bytes: of a uint64_t in what start() returned as ctx */
	const char *help; /* one line */
};

/* ---- what the host's answers hold --------------------------------------------------------------------------------- */

/* Who this visor is, for those who speak for it on a network. Borrowed, for the life of the instance. */
struct sg_crypto; /* crypto/keys.h */
struct sg_identity {
	uint32_t size;
	const struct sg_crypto *crypto;
	const struct sg_pk *pk;
	const struct sg_sk *sk;
};

/* A row of what the dmsg discovery knows of a key: a server and its address, or a client and its servers. */
struct sg_disc_entry {
	struct sg_pk pk;
	bool is_server;
	char address[64]; /* of a server, "host:port" */
	size_t n_servers; /* of a client */
	struct sg_pk servers[16];
};

/* Ends a question to the discovery, once, never inside the call that asked. @why: a sentence where @err is negative. */
typedef void sg_disc_fn(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why);

/* The same of a question to the address resolver; addresses in the order to dial. */
typedef void sg_resolved_fn(void *arg, int err, const struct sg_addr *addrs, size_t n, const char *why);

enum sg_tun_role { SG_TUN_CLIENT = 0, SG_TUN_SERVER = 1 };

/* no VPN: "armed", the LAN stays blocked · a VPN · the LAN may leave without protection, as the owner said aloud */
enum sg_want { SG_WANT_NOT = 0, SG_WANT_VPN = 1, SG_WANT_OPEN = 2 };

/* The TUN that netd opened. */
struct sg_tun {
	uint32_t size;
	int fd;        /* taken: yours to close; non-blocking, IFF_NO_PI | IFF_VNET_HDR */
	char name[16]; /* of the interface */
	uint16_t mtu;  /* bytes */
	bool offload;  /* the kernel takes TUNSETOFFLOAD with TSO */
	/* IPv4 networks of this machine that a lease must not overlap; server: those within the pool. */
	uint32_t n_busy;
	struct {
		uint32_t net; /* host order */
		uint8_t bits; /* prefix length */
	} busy[64];
};

/* Ends tun_open, once: a TUN, or NULL with a negative code and a sentence. */
typedef void sg_tun_fn(void *arg, int err, const struct sg_tun *tun, const char *why);
/* Ends what is answered by 0 or a negative code alone, once. */
typedef void sg_done_fn(void *arg, int err);

/* How the link to a peer stands. */
struct sg_peer_state {
	struct sg_pk pk;
	bool linked;                           /* a transport is up */
	char carrier[SG_CARRIER_NAME_MAX + 1]; /* of that, or of the last attempt */
	char address[64];                      /* the same; "" where it has none */
	uint32_t attempts;                     /* since the last success */
	int64_t next_try_ms;                   /* until the next attempt, -1: none planned */
	char why[160];                         /* the last failure, a sentence; "" when linked */
};

/* ---- what the host offers ---------------------------------------------------------------------------------------- */

/*
 * Const, for the life of the program. What an instance asked and did not call off is called off when it has stopped, and
 * the log says what it left.
 */
struct sg_host {
	uint32_t size;

	/* The loop that everything of the instance runs on. Borrowed, for its life. */
	struct sg_loop *(*loop)(struct sg_inst *);
	/* The configuration in force, valid. Borrowed until reload() or stop() is called. */
	const struct sg_uci *(*conf)(struct sg_inst *);
	/* Our public key. Borrowed, for the life of the instance. */
	const struct sg_pk *(*own_pk)(struct sg_inst *);

	/* For carriers: a connection from a neighbour. @fd is taken: non-blocking, connected. @from NULL: nobody can say. */
	void (*accepted)(struct sg_inst *, const char *carrier, int fd, const struct sg_addr *from);
	/* Ends a dial: a descriptor, taken, non-blocking, connected; or a negative code with a sentence in @why. */
	void (*dial_done)(struct sg_dial *, int fd_or_error, const char *why);
	/* The same two with secured streams, taken: their user is set inside the call, or they are closed. */
	void (*accepted_stream)(struct sg_inst *, const char *carrier, struct sg_stream *stream);
	void (*dial_done_stream)(struct sg_dial *, struct sg_stream *stream);
	/*
	 * Congestion control and queue limits that ordinary users may not choose; before connect or on a listener. @done
	 * follows later, may be NULL, and cannot be called off: stop() waits for it. -ENOTSUP: without netd.
	 */
	int (*tune_socket)(struct sg_inst *, int fd, sg_done_fn *done, void *arg);

	/* Streams to @port of ours until the instance stops. @ops and @arg are kept. 0, -EADDRINUSE or -ENOMEM. */
	int (*listen)(struct sg_inst *, uint16_t port, const struct sg_listener_ops *ops, void *arg);
	/*
	 * A stream to a port of a key, over whatever network is there first, but over at least @min_hops transports; above 1
	 * never direct. Ends in @done, never inside this call. 0, SG_ESTATE when it is stopping, or -ENOMEM.
	 */
	int (*dial)(struct sg_inst *, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *done,
		void *arg);
	/* Gives up all dials with that arg: nothing follows. */
	void (*dial_cancel)(struct sg_inst *, void *arg);

	/* A peer's key by the name of its section. 0 or -ENOENT: there is none. */
	int (*peer_find)(struct sg_inst *, const char *section, struct sg_pk *out);
	/* How the link to a key stands; @size: of *@out as the caller knows it. 0 or -ENOENT: no peer and no link. */
	int (*peer_state)(struct sg_inst *, const struct sg_pk *pk, struct sg_peer_state *out, size_t size);

	/* The kernel, through netd; -ENOTSUP: this skygated runs without. What ends later cannot be called off. */
	int (*tun_open)(struct sg_inst *, enum sg_tun_role role, sg_tun_fn *done, void *arg);
	/* Client: the address that the exit leased, with its gateway, /29, host order; 0, 0 gives it back. @done may be NULL. */
	int (*lease_set)(struct sg_inst *, uint32_t address, uint32_t gateway, sg_done_fn *done, void *arg);
	/* Client: traffic has a proven path, or none. */
	int (*path_set)(struct sg_inst *, bool up);
	/* Client: what the owner asks for; SG_WANT_VPN is "blocking" until path_set(true). */
	int (*want_set)(struct sg_inst *, enum sg_want want);

	/* For networks: our keys. Borrowed, for the life of the instance. */
	const struct sg_identity *(*identity)(struct sg_inst *);
	/* The dmsg discovery: one key, or all servers. What the configuration knows is answered without asking. */
	int (*disc_entry)(struct sg_inst *, const struct sg_pk *pk, sg_disc_fn *done, void *arg);
	int (*disc_servers)(struct sg_inst *, sg_disc_fn *done, void *arg);
	/* Gives up all questions with that arg: nothing follows. */
	void (*disc_cancel)(struct sg_inst *, void *arg);
	/* The servers where others find us now, @n of them: our entry is signed and kept up to date with them. */
	void (*disc_update)(struct sg_inst *, const struct sg_pk *servers, size_t n);

	/* For carriers whose addresses are found by key: asks the address resolver for a carrier's of a key. */
	int (*resolve)(struct sg_inst *, const char *carrier, const struct sg_pk *pk, sg_resolved_fn *done, void *arg);
	/* Gives up all questions with that arg: nothing follows. */
	void (*resolve_cancel)(struct sg_inst *, void *arg);
	/* Others find @port of this carrier from now on, kept bound and repeated; 0 takes it back. -ENOTSUP: not of this one. */
	int (*resolve_bind)(struct sg_inst *, const char *carrier, uint16_t port);
	/* For networks: a server of theirs sees our connections come from there. */
	void (*seen_at)(struct sg_inst *, const struct sg_addr *addr);
	/* For apps that others may use: @port is listed as @type ("vpn") at the service discovery; 0 takes it back. */
	int (*offer)(struct sg_inst *, const char *type, uint16_t port);

	/*
	 * The store: keys of the plugin's own. SG_ELONG: above a limit, -ENOMEM, or what the provider says. get ends with one
	 * pair or -ENOENT; scan as sg_store_ops.scan does.
	 */
	int (*store_get)(struct sg_inst *, struct sg_view key, sg_store_fn *done, void *arg);
	int (*store_scan)(struct sg_inst *, struct sg_view prefix, struct sg_view from, size_t limit, sg_store_fn *done,
		void *arg);
	/* All changes or none. @done may be NULL. @flags: SG_STORE_DURABLE. */
	int (*store_write)(struct sg_inst *, const struct sg_store_change *changes, size_t n, unsigned flags,
		sg_done_fn *done, void *arg);
	/* Tells of every change under @prefix until called off. */
	int (*store_watch)(struct sg_inst *, struct sg_view prefix, sg_store_watch_fn *fn, void *arg);
	/* The call-backs of all questions and watches with that arg do not follow; what was to be written is written. */
	void (*store_cancel)(struct sg_inst *, void *arg);
	/* For those who provide a store: the directory for what outlives a restart. Borrowed, for the life of the program. */
	const char *(*state_dir)(struct sg_inst *);
	/* Ends a question to a store: its answer, whose pairs the host may change. An unknown @id is nobody's. */
	void (*store_done)(struct sg_inst *, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more);

	/* Ends stop(), inside or later: nothing of the instance is in flight any more. The host waits five seconds for it. */
	void (*stopped)(struct sg_inst *);
};

/* ---- the descriptor ------------------------------------------------------------------------------------------------ */

/* What a plugin is. Const, static, with all it points to. */
struct sg_plugin {
	uint32_t abi_major;
	uint32_t
		abi_minor; /* of the oldest host that it runs in: what it was built with, or less if it asks SG_HAS first */
	uint32_t size;     /* of this struct where the plugin was built */
	const char *name; /* of its file and of list plugin: small letters, digits, '-' */
	const char *version;
	const char *summary;               /* one line */
	const struct sg_provide *provides; /* ends with SG_PROVIDE_END */
	const struct sg_option *options;   /* may be NULL */
	const struct sg_method *methods;   /* may be NULL */
	const struct sg_counter *counters; /* may be NULL */
	/*
	 * 0 and *@ctx, or a negative code with a sentence in @why, @why_cap bytes. Must leave nothing behind on an error. May
	 * run again after stopped().
	 */
	int (*start)(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap);
	/* The configuration changed (host->conf): 0 applied, a negative code: stop and start me. NULL: always that. */
	int (*reload)(void *ctx);
	/* Begins to end; ends with host->stopped, inside or later. Nothing new arrives meanwhile. */
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

/* Its first three members, as this header has them. */
#define SG_PLUGIN_HEAD .abi_major = SG_ABI_MAJOR, .abi_minor = SG_ABI_MINOR, .size = sizeof(struct sg_plugin)

#endif
