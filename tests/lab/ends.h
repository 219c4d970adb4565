/*
 * The two ends of a wire. An end is a TAP that the tool makes (it goes when the tool goes), or an interface that exists.
 * Either may be in another network namespace. Segmentation and checksum offload are switched off, and a frame above the
 * interface's MTU ends the program with a sentence: 1 % loss of 64 KiB super-packets would be no 1 % loss.
 */
#ifndef LAB_ENDS_H
#define LAB_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define END_BATCH     64
#define END_FRAME_MAX 9216

struct end {
	char spec[96];
	char interface[16];
	bool tap;
	int fd;
	unsigned mtu;
	uint64_t refused;      /* frames that the kernel did not take: interface down, no room */
	uint8_t *buffer;       /* END_BATCH × END_FRAME_MAX */
	size_t len[END_BATCH]; /* of what end_read brought */
};

/**
 * end_open - opens what @spec names: [tap:][NAMESPACE:]INTERFACE
 * @mtu: set on the interface; 0 leaves it
 *
 * Ends the program with a sentence when that does not work.
 */
void end_open(struct end *e, const char *spec, unsigned mtu);
/** end_offload_off - the same for an interface that is no end, [NAMESPACE:]INTERFACE: the far side of a veth. */
void end_offload_off(const char *spec);
/** end_read - up to END_BATCH frames into e->buffer; returns how many, 0 when none waits. */
unsigned end_read(struct end *e);
/** end_write - frames in order; counts in e->refused what is not taken. */
void end_write(struct end *e, const uint8_t *const *frames, const size_t *lens, unsigned count);
void end_close(struct end *e);

#endif
