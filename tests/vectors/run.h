/*
 * What the sections of all vector files share: the case that runs, its comparisons, the counts. A case fails at its first
 * difference, which is printed; the rest of it is then not compared.
 */
#ifndef SG_TESTS_VECTORS_RUN_H
#define SG_TESTS_VECTORS_RUN_H

#include "crypto/crypto.h"
#include "crypto/keys.h"
#include "fake/random.h"
#include "value.h"

struct run {
	const struct sg_crypto *c;
	struct fake_random *random; /* that of @c */
	const struct value *file;   /* for the few sections whose line names another section */
	const char *section;        /* as it stands in the file, "name#2" too */
	/* the list that is being run */
	char list[128];
	size_t index;
	const char *name;
	bool failed;
	bool quiet; /* a difference is not printed: another attempt follows */
	size_t passed, failures, skipped;
	const char *why; /* of the skipped ones */
	/* all lists */
	size_t all_passed, all_failed, all_skipped;
};

/* Counts go to section, or section.@sub when @sub is not NULL. list_end prints the line. */
void list_begin(struct run *r, const char *sub);
void list_end(struct run *r);
void case_begin(struct run *r, size_t index, const char *name);
void case_end(struct run *r);
/** case_skip - instead of begin and end. */
void case_skip(struct run *r, const char *why);

/** each_case - @fn for every item of the section's list, named by that member. */
typedef void case_fn(struct run *r, const struct value *item);
void each_case(struct run *r, const struct value *list, const char *name, case_fn *fn);

/* Each compares unless the case has failed already. @field says what is compared. */
void expect_true(struct run *r, const char *field, bool ok, const char *want, const char *got);
void expect_text(struct run *r, const char *field, const char *want, const char *got);
void expect_number(struct run *r, const char *field, uint64_t want, uint64_t got);
/** expect_hex - @want is hexadecimal text; NULL: a member is missing, which is a failure. */
void expect_hex(struct run *r, const char *field, const char *want, const void *got, size_t len);
/** expect_hex_of - as expect_hex with the member of that name, if it is there. */
void expect_hex_of(struct run *r, const struct value *v, const char *field, const void *got, size_t len);
void expect_bytes(struct run *r, const char *field, struct sg_view want, struct sg_view got);
/** expect_outcome - a null error was expected exactly if @err is 0. */
void expect_outcome(struct run *r, const char *field, bool want_ok, int err);

/** hex_bytes - the bytes of a hexadecimal string member (free). NULL with a failure when it is none. */
uint8_t *hex_bytes(struct run *r, const struct value *v, const char *field, size_t *len);
/** hex_fixed - exactly @len bytes of it. False with a failure otherwise. */
bool hex_fixed(struct run *r, const struct value *v, const char *field, void *out, size_t len);
struct sg_view text_view(const char *s);

/** same_name - "name#2" in a file holds further cases of "name". */
bool same_name(const char *in_file, const char *name);

/* Keys: dmsg.c, used for the sections of that name in all files. */
void keys_of_seed(const struct run *r, struct sg_view seed, struct sg_sk *sk, uint8_t hash[32], uint8_t seed2[32]);

/*
 * A section's handler. @fits decides between sections of one name in different files by their shape; NULL: always.
 * @run NULL: skipped for the reason in @why.
 */
struct section {
	const char *name; /* NULL ends the table */
	bool (*fits)(const struct value *v);
	void (*run)(struct run *r, const struct value *v);
	const char *why;
};

/* In the *_noise.c files. */
bool is_dmsg_noise(const struct value *v);
void dmsg_noise_pair(struct run *r, const struct value *v); /* KK or XK, by the name of the section */
void dmsg_fragmentation(struct run *r, const struct value *v);
void dmsg_noise_frame_negative(struct run *r, const struct value *v);
/* dmsg_objects.c */
void dmsg_gob_primitives(struct run *r, const struct value *v);
void dmsg_stream_objects(struct run *r, const struct value *v);
void dmsg_stream_object_negative(struct run *r, const struct value *v);
void dmsg_entries(struct run *r, const struct value *v);
/* routing_rules.c */
void routing_descriptor(struct run *r, const struct value *v);
void routing_rules(struct run *r, const struct value *v);
void routing_forwarding(struct run *r, const struct value *v);
void routing_group_noise(struct run *r, const struct value *v);
bool is_transport_noise(const struct value *v);
void transport_noise_kk(struct run *r, const struct value *v);
void transport_session(struct run *r, const struct value *v);
/* routing_rpc.c */
bool is_list(const struct value *v);
void routing_gob_primitives(struct run *r, const struct value *v);
void routing_rpc(struct run *r, const struct value *v);
void routing_gob_acceptance(struct run *r, const struct value *v);
/* transports.c: what a visor, or the address resolver, answers to such an f2. */
struct sg_stcp_f2;
struct sg_stcp_f3;
void answer_f2(const struct sg_stcp_f2 *f2, struct sg_stcp_f3 *f3);

/* services.c */
void services_httpauth(struct run *r, const struct value *v);
void services_http_auth(struct run *r, const struct value *v);
void services_examples(struct run *r, const struct value *v);
void services_resolver(struct run *r, const struct value *v);
void services_discovery(struct run *r, const struct value *v);
void services_registration(struct run *r, const struct value *v);
void services_route_finder(struct run *r, const struct value *v);
void services_dmsghttp(struct run *r, const struct value *v);

extern const struct section dmsg_sections[], transports_sections[], routing_sections[], apps_sections[];

#define NO_CODE   "no code for it yet"
#define RECORDING "recording"

#endif
