/*
 * A host table for plugins under test: what a plugin asks for is written down, what it is answered the test says.
 * Streams deliver what the test puts in and keep what the plugin sends; time stands until the test moves it.
 */
#ifndef SG_FAKE_HOST_H
#define SG_FAKE_HOST_H

#include "loop/loop.h"
#include "store/store.h"
#include "wire/uci.h"
#include <skygate/plugin.h>

#define FAKE_PEERS 4

struct fake_host;

struct fake_stream {
	struct sg_stream s; /* first: what the plugin holds */
	struct fake_host *host;
	struct sg_stream_info info;
	uint8_t *tx; /* what the plugin sent */
	size_t tx_len, tx_cap;
	size_t room;    /* bytes of tx that are taken before -EAGAIN */
	size_t longest; /* above it SG_ELONG; 0: none */
	size_t sends;
	bool closed; /* by the plugin */
	int64_t may; /* bytes that the plugin lets the other end send, once it is rationed */
	bool rationed, unheard;
};

struct fake_peer {
	char name[32];
	struct sg_pk pk;
	bool linked;
};

/* A running plugin, as a plugin sees it. */
struct sg_inst {
	struct fake_host *host;
};

struct fake_host {
	struct sg_clock clock; /* first */
	int64_t ms;
	struct sg_loop *loop;
	struct sg_host table;
	struct sg_inst inst;
	struct sg_uci *conf;
	struct store *store; /* in memory; it outlives the plugin */
	struct store_space keys;
	struct sg_pk own;
	struct fake_peer peers[FAKE_PEERS];
	const struct sg_plugin *plugin;
	void *ctx;
	char why[256];

	/* Listening and dialling. */
	const struct sg_listener_ops *listener;
	void *listener_arg;
	uint16_t listen_port, offered;
	int listen_err;
	sg_dialed_fn *dialed; /* of the dial under way, NULL: none */
	void *dial_arg;
	struct sg_pk dial_pk;
	unsigned dial_min_hops;
	unsigned dials, dial_cancels;
	int dial_err;

	/* netd. */
	int tun_err;       /* refuses at once */
	bool tun_hold;     /* answers only by fake_tun_answer */
	int tun_kernel[2]; /* by role: the other end of the plugin's TUN; -1: none */
	unsigned tun_opens;
	struct sg_tun tun; /* answered; its fd is made for each */
	sg_tun_fn *tun_fn;
	enum sg_tun_role tun_role;
	void *tun_arg;
	int lease_err;   /* answered to the call-back */
	bool lease_hold; /* answers only by fake_lease_answer */
	unsigned lease_sets;
	uint32_t lease, gateway;
	sg_done_fn *lease_fn;
	void *lease_arg;
	bool path_up;
	unsigned path_changes;
	enum sg_want want;
	bool blocking; /* as netd has it: asked for, and the path is not up */
	bool stopped;
};

/** fake_host_new - with a loop whose clock stands, the peers a, b, c, d, and this configuration text. */
struct fake_host *fake_host_new(const char *conf);
/** fake_host_free - closes the loop; fails the test if a TUN of the plugin is still open. */
void fake_host_free(struct fake_host *h);
/** fake_conf - replaces the configuration. */
void fake_conf(struct fake_host *h, const char *text);
/** fake_start - starts the plugin; its result, and the reason in h->why. */
int fake_start(struct fake_host *h, const struct sg_plugin *plugin);
/** fake_stop - stops it and turns the loop once. */
void fake_stop(struct fake_host *h);
/** fake_call - a control method. New reference, or NULL and the reason in h->why. */
struct json_t *fake_call(struct fake_host *h, const char *method, const char *params);
/** fake_counter - by its name. */
uint64_t fake_counter(const struct fake_host *h, const char *name);

/** fake_turn - everything that is due now, until nothing is. */
void fake_turn(struct fake_host *h);
/** fake_pass - time passes in steps of at most 50 ms, the loop turning. */
void fake_pass(struct fake_host *h, int64_t ms);

struct fake_stream *fake_stream_new(struct fake_host *h, const struct sg_pk *remote, bool records);
/** fake_stream_of_1_0 - it is of a network that is older than what may be allowed: there is want only. */
void fake_stream_of_1_0(struct fake_stream *s);
void fake_stream_free(struct fake_stream *s);
/** fake_incoming - a stream to the plugin's listener; what on_stream returned. */
int fake_incoming(struct fake_host *h, struct fake_stream *s);
/** fake_dialed - ends the dial under way: a stream, or NULL with a code and a sentence. */
void fake_dialed(struct fake_host *h, struct fake_stream *s, int err, const char *why);
/** fake_deliver - bytes arrive at the plugin, from a heap copy of exactly their size. */
void fake_deliver(struct fake_stream *s, const void *bytes, size_t len);
void fake_tun_answer(struct fake_host *h, int err, const char *why);
void fake_lease_answer(struct fake_host *h, int err);

/** fake_tun_send - a packet as the kernel hands it to the TUN; @vnet: its virtio_net_hdr, NULL: one that asks for nothing. */
void fake_tun_send(struct fake_host *h, enum sg_tun_role role, const uint8_t vnet[10], const uint8_t *p, size_t len);
/** fake_tun_recv - the length of what the kernel got from the TUN, without its virtio_net_hdr; 0: nothing. */
size_t fake_tun_recv(struct fake_host *h, enum sg_tun_role role, uint8_t *p, size_t cap);
/** fake_udp - an IPv4 packet of UDP, all zero behind its header. Returns @len. */
size_t fake_udp(uint8_t *p, uint32_t src, uint32_t dst, size_t len);

#endif
