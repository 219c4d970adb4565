/*
 * One direction of a bad line, as pure code: frames go in with the time of their arrival and come out when they are
 * due. Time and randomness are given, so a test can prove every claim by counting.
 *
 *	in → hole? → bounded queue, rate → loss → delay, jitter, reordering → out
 *
 * A lost frame has used the line, as on a real one. Jitter alone never reorders: a frame is not due before the one in
 * front of it. A reordered frame is held back, and those behind it overtake.
 */
#ifndef LAB_IMPAIR_H
#define LAB_IMPAIR_H

#include <stddef.h>
#include <stdint.h>

enum impair_drop {
	IMPAIR_LOSS,   /* the dice */
	IMPAIR_QUEUE,  /* the queue in front of the line was full */
	IMPAIR_HOLE,   /* an IP packet above the size that passes; nobody is told */
	IMPAIR_MEMORY, /* more bytes under way than the tool keeps */
	IMPAIR_DROPS
};
extern const char *const impair_drop_names[IMPAIR_DROPS];

struct impair_options {
	uint64_t rate_bps;            /* bits of Ethernet frames per second, 0: no limit */
	uint64_t queue_bytes;         /* that may wait for the line, 0: no bound but memory */
	uint64_t delay_ns, jitter_ns; /* delay ± up to jitter, evenly */
	uint64_t loss_ppm, reorder_ppm;
	uint64_t reorder_ns; /* how long a reordered frame is held back */
	size_t hole;         /* largest IP packet that passes, 0: all */
	size_t memory_bytes; /* under way at most */
};

struct impair_frame {
	uint64_t due_ns, number;
	size_t len;
	uint8_t bytes[];
};

struct impair {
	struct impair_options o;
	uint64_t (*random)(void *arg); /* 64 even bits */
	void *random_arg;
	uint64_t line_free_ns, line_rest; /* when the line has sent what it has; rest of that division */
	uint64_t last_due_ns, number;
	struct impair_frame **heap; /* by due time, then order of arrival */
	size_t count, room, bytes;
	uint64_t in, out, reordered, dropped[IMPAIR_DROPS], queue_max;
};

/** impair_init - keeps @random_arg. impair_fini frees what is under way. */
void impair_init(struct impair *im, const struct impair_options *o, uint64_t (*random)(void *), void *random_arg);
void impair_fini(struct impair *im);
/** impair_push - borrows an Ethernet frame that arrived now; now_ns never runs backward. */
void impair_push(struct impair *im, uint64_t now_ns, const uint8_t *frame, size_t len);
/** impair_pop - a frame that is due, now the caller's (free), or NULL. */
struct impair_frame *impair_pop(struct impair *im, uint64_t now_ns);
/** impair_next_ns - when the next frame is due; UINT64_MAX: none is under way. */
uint64_t impair_next_ns(const struct impair *im);

/* splitmix64: a seeded source of evenly spread bits. @arg: the uint64_t state. */
uint64_t impair_splitmix(void *arg);

#endif
