/*
 * skygate, the command line: made from the table of methods (wire/methods.h). One connection, one call; what comes back
 * is shown for people or, with --json, as it is.
 */
#ifndef SG_CLI_CLI_H
#define SG_CLI_CLI_H

#include "base/text.h"
#include "wire/json.h"
#include "wire/methods.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_WRONG = 2, EXIT_NOT_RUNNING = 3 };

/* ---- terminal: text for people ------------------------------------------------------------------------------------ */

enum mood { MOOD_PLAIN, MOOD_GOOD, MOOD_CARE, MOOD_BAD };

/** term_word - prints the word padded to @width columns, coloured when standard output is a terminal. */
void term_word(const char *word, int width, enum mood mood);
#define TERM_TEXT 48
/* Each writes to @buf of TERM_TEXT bytes and returns it. */
char *term_duration(int64_t ms, char *buf); /* "38 ms", "14 s", "2 h 14 min" */
char *term_bytes(uint64_t n, char *buf);    /* "6.3 MiB" */
char *term_rate(uint64_t bps, char *buf);   /* "21.4 Mbit/s" */
char *term_count(uint64_t n, char *buf);    /* "1,204" */
char *term_key(const char *hex, char *buf); /* "02727bc7…ed5f" */

/* A table: cells are copied, columns as wide as their widest cell. */
struct term_table;
struct term_table *term_table_new(size_t columns, const char *const *heads);
void term_cell(struct term_table *t, const char *text);
void term_table_print(struct term_table *t); /* and frees it */

/* ---- the other end ------------------------------------------------------------------------------------------------ */

struct client;

/** client_open - connects; NULL after it said why, *status is then the exit status. */
struct client *client_open(const char *socket_path, int *status);
void client_close(struct client *c);
/** client_call - the result (new), or NULL after it said why. Lists that come in pages are joined. */
json_t *client_call(struct client *c, const char *method, json_t *params, int *status);
/** client_next - the next notification (new), or NULL when the other end is gone. */
json_t *client_next(struct client *c);

/* ---- what is shown ------------------------------------------------------------------------------------------------ */

/** show - the result of a method for people. Exit status. */
int show(const char *method, const json_t *result);
int show_status(const json_t *result);
int show_vpn(const json_t *result);
int show_visor(const json_t *result);
int show_dmsg(const json_t *result);
/** show_missing - of visor.status: what of the network should be there and is not. */
void show_missing(const json_t *status);
/** status_rates - what flows, from visor.status and a vpn.status of a moment later; nothing when it cannot be said. */
void status_rates(json_t *status, const json_t *later);
void show_log_line(const json_t *notification);

int keygen(const char *path, bool json);

struct import_paths {
	const char *in, *out, *key;
	bool force; /* what exists is overwritten */
};

/** import - a Go visor's configuration as ours; says what it did. Exit status. */
int import(const struct import_paths *p, bool json);

/* Members that are there because skygated of the same version wrote them; "" and 0 otherwise. */
const char *get_str(const json_t *obj, const char *name);
int64_t get_int(const json_t *obj, const char *name);
bool get_bool(const json_t *obj, const char *name);

#endif
