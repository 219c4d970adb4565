/*
 * What the files of transport-dmsg share.
 *
 *	plugin.c   face toward the host      node.c     which servers, listening, dialling
 *	session.c  one server: TCP, Noise XK, yamux, session objects
 *	stream.c   one stream: its life, frames            request.c  how it begins: request and response, Noise KK
 *	carrier.c  transports to neighbours: streams to port 45
 */
#ifndef SG_TRANSPORT_DMSG_H
#define SG_TRANSPORT_DMSG_H

#include "base/list.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "crypto/replay.h"
#include "loop/loop.h"
#include "wire/yamux.h"
#include <skygate/plugin.h>

#define DMSG_CARRIER        "dmsg"
#define DMSG_PORT_TRANSPORT 45
#define DMSG_STREAM_MS      5000 /* from the request to the response; today's peers wait no longer */

struct dmsg_counters {
	uint64_t sessions_up, sessions_failed, streams_out, streams_in, dials_failed, refused_port, bad_request,
		replayed;
};

/* The running network: what start() returns. */
struct dmsg {
	struct dmsg_counters count; /* first: offsets of the counter table */
	const struct sg_host *host;
	struct sg_inst *inst;
	struct sg_loop *loop;
	const struct sg_identity *id;
	struct sg_list sessions, streams, listens, dials, carrier_dials;
	size_t wanted;    /* sessions to hold */
	uint64_t network; /* what the configuration said of it at the start */
	uint16_t next_port;
	unsigned round;       /* of telling streams that there is room; never 0 */
	struct sg_timer look; /* for servers */
	int64_t backoff_ms;
	bool looking, retrying, stopping; /* retrying: the timer runs for a back-off */
	size_t n_servers;
	struct sg_disc_entry servers[64]; /* as last heard */
	char why[200];                    /* why there is no session, a sentence */
	struct sg_defer changed;          /* the set of sessions that are up */
	struct sg_worker *worker;         /* for strangers' requests; NULL: nobody came yet, or none could be had */
};

/* ---- session.c ---- */

enum session_state { SESSION_CONNECT, SESSION_NOISE, SESSION_PAUSE, SESSION_UP };

struct session {
	struct sg_list node;
	struct dmsg *d;
	struct sg_pk server;
	char address[64];
	enum session_state state;
	struct sg_connect *connect; /* under way, or NULL */
	int fd;
	struct sg_watch *watch;
	struct sg_timer timer;
	struct sg_noise noise;
	uint8_t hs[2 + 1280];
	size_t hs_len;
	struct sg_aead *tx, *rx;
	uint64_t tx_counter;
	struct sg_replay replay;
	struct sg_yamux *yamux;
	uint8_t *out;
	size_t out_at, out_len, out_cap;
	bool out_full;
	struct sg_defer flush;
	struct sg_mono since;
	unsigned busy;
	bool dead;
};

/** dmsg_session_new - begins to connect. 0 or a negative code. Ends in dmsg_node_session_down, maybe inside this call. */
int dmsg_session_new(struct dmsg *d, const struct sg_disc_entry *server);
/** dmsg_session_end - its streams end; dmsg_node_session_down follows inside. */
void dmsg_session_end(struct session *s, int err, const char *why);
/** dmsg_session_seal - an object as one frame into @out. Length or SG_ELONG. */
int dmsg_session_seal(struct session *s, struct sg_view object, uint8_t *out, size_t cap);
/** dmsg_session_unseal - what lies behind the length prefix; opened in place. 0 and the object, or a negative code. */
int dmsg_session_unseal(struct session *s, uint8_t *frame, size_t len, struct sg_view *object);
/** dmsg_session_full - too much waits for the socket: streams hold back. */
bool dmsg_session_full(const struct session *s);

/* ---- stream.c ---- */

enum stream_state { STREAM_ASKED, STREAM_OFFERED, STREAM_OPEN, STREAM_ENDED };

struct stream {
	struct sg_stream pub; /* first */
	struct sg_list node;  /* of d->streams */
	struct dmsg *d;
	struct session *s;
	struct sg_yamux_stream *y; /* NULL once the multiplexer has let go of it */
	enum stream_state state;
	struct sg_pk remote;
	uint16_t local_port, remote_port;
	struct sg_timer limit;
	struct sg_noise noise;
	bool noise_live;
	uint8_t req_hash[32];
	struct answer *answer; /* to what the other end asked, under way; NULL: nothing asked, or answered */
	struct sg_frame_key tx, rx;
	uint8_t *in; /* received, not taken yet */
	size_t in_len, in_cap;
	uint8_t *out; /* sealed, not taken by the multiplexer yet */
	size_t out_at, out_len, out_cap;
	bool want, refused, ended; /* ended: the other end sends no more */
	bool address;              /* no stream to anybody: asks the server at which address it sees us */
	struct sg_defer resume;
	unsigned busy, round;
	sg_dialed_fn *done; /* of a dial */
	void *done_arg;
};

/** dmsg_stream_new - on the node's list, in no state yet. NULL when memory is out. */
struct stream *dmsg_stream_new(struct session *s);
void dmsg_stream_free(struct stream *st);
/** dmsg_stream_detach - off the wire. @reset: rather than an orderly end. */
void dmsg_stream_detach(struct stream *st, bool reset);
/** dmsg_stream_room - where @need bytes to send go; out_len grows by what was put there. NULL when memory is out. */
uint8_t *dmsg_stream_room(struct stream *st, size_t need);
/** dmsg_stream_push - what waits goes out as far as the multiplexer takes it. */
void dmsg_stream_push(struct stream *st);
void dmsg_stream_on_data(struct stream *st, struct sg_view data);
void dmsg_stream_on_writable(struct stream *st);
void dmsg_stream_on_end(struct stream *st, int err);
/** dmsg_stream_fail - ends it; who dialled or uses it hears why. */
void dmsg_stream_fail(struct stream *st, int err, const char *why);
/** dmsg_stream_forget - a dial given up: its call-back does not follow. */
void dmsg_stream_forget(struct stream *st);

/* ---- request.c ---- */

/** dmsg_stream_dial - asks for a stream on a session that is up. Ends in @done once, or never when it returns an error. */
int dmsg_stream_dial(struct session *s, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg);
/** dmsg_stream_ask_address - at which address the server sees us; the host hears of it. */
void dmsg_stream_ask_address(struct session *s);
/** dmsg_stream_offered - the other end opened one. 0 or a negative code: it is reset. */
int dmsg_stream_offered(struct session *s, struct sg_yamux_stream *y);
/** dmsg_request_drop - its answer is not wanted any more. */
void dmsg_request_drop(struct stream *st);
/** dmsg_request_in - the first object of a stream. Bytes used, 0 if more are needed, or a negative code. */
int dmsg_request_in(struct stream *st);

/* ---- node.c ---- */

struct listen {
	struct sg_list node;
	uint16_t port;
	const struct sg_listener_ops *ops;
	void *arg;
};

void dmsg_node_start(struct dmsg *d);
void dmsg_node_stop(struct dmsg *d);
void dmsg_node_session_up(struct session *s);
void dmsg_node_session_down(struct session *s, const char *why);
const struct listen *dmsg_node_listener(const struct dmsg *d, uint16_t port);
uint16_t dmsg_node_port(struct dmsg *d);
extern const struct sg_network_ops dmsg_network_ops;

/* ---- carrier.c ---- */

/** dmsg_carrier_start - neighbours may call from now on. 0 or -ENOMEM. */
int dmsg_carrier_start(struct dmsg *d);
void dmsg_carrier_stop(struct dmsg *d);
extern const struct sg_carrier_ops dmsg_carrier_ops;

#endif
