/*
 * The daemon's own: what its files share. One struct core per process; everything here belongs to its loop's thread.
 *
 *	main.c       arguments, the one process-wide set-up
 *	core.c       life: start in order, stop in reverse
 *	conf.c       the configuration file, validated whole        reload.c   taking over a changed one
 *	plugin.c     loading, every refusal with its own sentence   inst.c     starting and stopping what was loaded
 *	host.c       the table that plugins call                    peers.c    whom to keep connected
 *	netd.c       client of the privileged parent                identity.c the key file
 *	control.c    JSON-RPC server                                methods*.c what it answers
 *	logs.c       the last lines, for those who follow           sandbox.c  seccomp and Landlock
 *	page.c       lists in pages                                 key.c      shortened keys
 *	findings.c   what a check found                         user.c     who root becomes for --check
 *	foreign.c    which peers are not ours, over a restart
 *	visors.c     public visors: automatic transports to them
 */
#ifndef SG_CORE_CORE_H
#define SG_CORE_CORE_H

#include "base/list.h"
#include "base/hex.h"
#include "base/log.h"
#include "crypto/keys.h"
#include "link/link.h"
#include "net/net.h"
#include "net/routing.h"
#include "loop/worker.h"
#include "route/route.h"
#include "store/store.h"
#include "wire/jsonout.h"
#include "wire/methods.h"
#include "wire/netd.h"
#include "wire/uci.h"
#include <skygate/plugin.h>

#define CORE_WHY_MAX 512 /* bytes of a sentence */

/* What the command line says. All borrowed for the life of the process. */
struct core_options {
	const char *config, *run_dir, *state_dir, *plugin_dir;
	int netd_fd;                            /* -1: without netd */
	const struct sg_plugin *const *builtin; /* plugins linked in, ended by NULL; may be NULL */
};

/* ---- findings: what a check of the configuration says ----------------------------------------------------------- */

struct findings {
	struct sg_list list; /* of struct finding */
	size_t n;
	bool truncated; /* memory was out, or there were very many */
};

struct finding {
	struct sg_list node;
	unsigned line;
	char text[]; /* "FILE:LINE: …\n  accepted: …" */
};

void findings_init(struct findings *f);
void findings_fini(struct findings *f);
/** findings_report - a sg_uci_report_fn; @arg is the struct findings. */
void findings_report(void *arg, unsigned line, const char *text);
void findings_addf(struct findings *f, unsigned line, const char *fmt, ...) SG_PRINTF(3, 4);
/** findings_has - whether something was found in that line. */
bool findings_has(const struct findings *f, unsigned line);
/** findings_print - all of them and a summary, as a compiler does. */
void findings_print(const struct findings *f, FILE *out);
/** findings_json - [{"line": 14, "text": "…"}, …]. Returns new; NULL when memory is out. */
json_t *findings_json(const struct findings *f);

/* ---- plugins ------------------------------------------------------------------------------------------------------ */

enum inst_state { INST_STOPPED, INST_RUNNING, INST_STOPPING, INST_FAILED };

typedef void inst_done_fn(void *arg, struct sg_inst *inst);

struct sg_inst {
	struct core *core;
	struct plugin *plugin;
	void *ctx;
	enum inst_state state;
	char why[CORE_WHY_MAX];  /* of INST_FAILED, a sentence */
	struct sg_list listens;  /* struct host_listen */
	struct sg_list dials;    /* struct host_dial */
	struct store_space keys; /* its own in the store */
	struct sg_timer stop_limit;
	struct sg_defer stop_done;
	inst_done_fn *done;
	void *done_arg;
};

struct plugin {
	struct sg_list node; /* of core->plugins, in the order of loading */
	const struct sg_plugin *desc;
	struct sg_inst inst;
};

/**
 * plugin_load - by name; a loaded one is given again. 0 and *out, or a negative code with a sentence (and its cure on
 * further lines) in @why. Plugins are never unloaded.
 */
int plugin_load(struct core *core, const char *name, struct plugin **out, char *why, size_t cap);
void plugins_free(struct core *core);
/** plugin_to_load - the name of one of ours that provides the carrier, or NULL. Static. */
const char *plugin_to_load(const char *carrier);
/** plugin_of_carrier - the one among @plugins that provides it, or NULL. */
struct plugin *plugin_of_carrier(struct plugin *const *plugins, size_t n, const char *carrier);
const struct sg_carrier_ops *plugin_carrier_ops(const struct plugin *p, const char *carrier);
/** plugin_store_ops - of the store that it provides, or NULL. */
const struct sg_store_ops *plugin_store_ops(const struct plugin *p);
/** plugin_networks - tells net/ which networks of a plugin are there from now on, or not any more. */
void plugin_networks(struct plugin *p, bool there);

/** inst_start - 0, or a negative code with inst->why. */
int inst_start(struct sg_inst *inst);
/** inst_stop - ends in @done once, never inside the call; at once if it does not run. */
void inst_stop(struct sg_inst *inst, inst_done_fn *done, void *arg);
/** inst_stopped - what host->stopped does. */
void inst_stopped(struct sg_inst *inst);

extern const struct sg_host core_host;
/** host_release - what an instance left: dials, listening ports, questions to netd. */
void host_release(struct sg_inst *inst);
/** host_unlisten - nothing new arrives for it. */
void host_unlisten(struct sg_inst *inst);
extern const struct sg_links_host core_links_host;

/* ---- configuration ------------------------------------------------------------------------------------------------ */

struct conf {
	struct sg_uci *doc;
	const struct sg_uci_section *visor; /* of doc */
	struct plugin **plugins;            /* in the order of the file */
	size_t n_plugins;
};

/**
 * conf_read - reads, loads plugins, checks all. 0, SG_ECONF with at least one finding, or -ENOMEM. *out also with findings, NULL
 * where it could not be read. @doc: what was read already, taken; or NULL.
 */
int conf_read(struct core *core, struct findings *f, struct sg_uci *doc, struct conf **out);
/** conf_load - conf_read of what will be in force: *out only when nothing was found. */
int conf_load(struct core *core, struct findings *f, struct conf **out);
void conf_free(struct conf *c);

struct peer_extra; /* peers.c: added at run time */

/** peers_apply - tells the links whom the configuration and transport.add want connected. 0 or -ENOMEM. */
int peers_apply(struct core *core, const struct conf *conf);
/** peers_start - those that the store kept join in, later. */
void peers_start(struct core *core);
/**
 * peers_add - until the next start or, @kept, until it is removed. @address as of a peer, "": by its key, whichever way
 * there is. 0, SG_EDUP, SG_EFULL, -ENOMEM.
 */
int peers_add(struct core *core, const struct sg_pk *pk, const char *address, bool kept);
/** peers_remove - those of a key that were added, "" by any carrier. 0, -ENOENT or -ENOMEM. */
int peers_remove(struct core *core, const struct sg_pk *pk, const char *carrier);
void peers_each_added(const struct core *core, void (*fn)(void *arg, const struct sg_pk *pk), void *arg);
/** peers_configured - the section of the configuration with that key, or NULL. */
const struct sg_uci_section *peers_configured(const struct core *core, const struct sg_pk *pk);
/** peers_configured_by - whether that section also names the carrier of @address ("": any). */
bool peers_configured_by(const struct core *core, const struct sg_pk *pk, const char *address);
void peers_free(struct core *core);

struct visors;

/** visors_new - automatic transports as the configuration has them. 0 or -ENOMEM. Free with visors_free. */
int visors_new(struct core *core, struct visors **out);
/** visors_configure - the configuration changed. Accepts NULL. */
void visors_configure(struct visors *v);
void visors_free(struct visors *v);

/** reload_start - ends in @done once, never inside the call: 0, or a code with a text. -EBUSY: one is under way. */
typedef void reload_done_fn(void *arg, int err, const struct findings *f, const char *why);
int reload_start(struct core *core, reload_done_fn *done, void *arg);
void reload_free(struct core *core);

/* ---- the key ------------------------------------------------------------------------------------------------------ */

/** identity_read - a file that only we can read. 0, or a negative code with a sentence. */
int identity_read(const struct sg_crypto *c, const char *path, struct sg_sk *sk, char *why, size_t cap);

/* ---- netd ----------------------------------------------------------------------------------------------------------- */

struct netd;

/* @answer is NULL when netd went away; @fd is yours, or -1. */
typedef void netd_answer_fn(void *arg, int err, const struct sg_netd_msg *answer, int fd);

/** netd_new - takes @fd. 0 or a negative errno. */
int netd_new(struct core *core, int fd, struct netd **out);
void netd_free(struct netd *n);
/**
 * netd_ask - sends and remembers; @m's id is chosen here. @owner: whose question it is, for netd_forget; may be NULL.
 * @arg: from sg_malloc, taken: freed after @fn or when forgotten; NULL together with @fn. 0, or a negative errno: then
 * @fn does not follow and @arg is still the caller's.
 */
int netd_ask(struct netd *n, struct sg_netd_msg *m, int pass, const void *owner, netd_answer_fn *fn, void *arg);
/** netd_forget - the call-backs of this owner do not follow. Returns how many would have. */
size_t netd_forget(struct netd *n, const void *owner);

/* ---- peers that are not ours, over a restart --------------------------------------------------------------------------- */

struct foreign;

/** foreign_new - reads what an older process left in @run_dir. NULL when memory is out. */
struct foreign *foreign_new(const char *run_dir);
void foreign_free(struct foreign *f);
bool foreign_is(const struct foreign *f, const struct sg_pk *pk);
void foreign_set(struct foreign *f, const struct sg_pk *pk, bool foreign);

/* ---- log lines that can be followed ---------------------------------------------------------------------------------- */

struct logs;

typedef void logs_wake_fn(void *arg);

/** logs_new - becomes the sink of the logger; lines go to standard error as well. @wake on the loop: new lines. */
int logs_new(struct sg_loop *loop, logs_wake_fn *wake, void *arg, struct logs **out);
/** logs_stop - lines go to standard error only, from here on. */
void logs_stop(struct logs *l);
void logs_free(struct logs *l);
/** logs_next - the line after @*seq as an object and *seq moved on; *lost: lines that were no more there. NULL: none. */
json_t *logs_next(struct logs *l, uint64_t *seq, uint64_t *lost);
/** logs_seq - the number of the newest line; @back lines before it, as far as they are kept. */
uint64_t logs_seq(struct logs *l, uint64_t back);

/* ---- control -------------------------------------------------------------------------------------------------------- */

struct control;
struct call;

/** control_new - listens on RUN/control.sock. 0, or a negative code with a sentence. */
int control_new(struct core *core, struct control **out, char *why, size_t cap);
void control_free(struct control *c);
/** control_logs_wake - new log lines are there. */
void control_logs_wake(void *arg);

/* A handler ends its call once, inside or later; the caller may be gone by then, which is no matter of the handler. */
typedef void method_fn(struct core *core, struct call *call, json_t *params);
struct method {
	const char *name;
	method_fn *fn;
};
extern const struct method core_methods[];
/** call_done - takes @result (NULL: memory is out). */
void call_done(struct call *call, json_t *result);
/** call_answer - the text of a long one: the members of the result are put into it (wire/jsonout.h), then call_answered. */
struct sg_json_out call_answer(const struct call *call);
/** call_answered - takes @out. */
void call_answered(struct call *call, struct sg_json_out *out);
void call_fail(struct call *call, int code, const char *fmt, ...) SG_PRINTF(3, 4);
struct core *call_core(const struct call *call);
/** call_method - the name of the method. */
const char *call_method(const struct call *call);
/** call_follow_logs - the client gets log lines from @seq on. */
void call_follow_logs(struct call *call, uint64_t seq);

/** call_note - a number that the handler of a call that ends later keeps with it; 0 at first. */
uint64_t *call_note(struct call *call);
/** call_pk - the same for a key. */
struct sg_pk *call_pk(struct call *call);

method_fn method_service_list, method_exit_list, method_route_find, method_visor_ping;
method_fn method_visor_status, method_visor_show, method_config_check, method_config_reload, method_transport_list,
	method_transport_add, method_transport_rm, method_stream_list, method_route_list, method_counter_list,
	method_plugin_list, method_log_follow, method_log_level, method_plugin_call;

/** core_text - a JSON string of what may hold strangers' bytes: those that are no UTF-8 become '?'. Returns new. */
json_t *core_text(const char *s);
/** core_pk - 66 digits. Returns new. */
json_t *core_pk(const struct sg_pk *pk);

/* ---- pages: page.c ---- */

#define CORE_PAGE 96 /* entries */

struct page {
	struct call *call;
	struct sg_json_out out;
	size_t at, from;
	bool more;
};

/** page_init - of the list called @name in the answer to @call, the page that begins with entry @from. */
void page_init(struct page *p, struct call *call, const char *name, size_t from);
/** page_asked - the same, as @params ask for ("from"). */
void page_asked(struct page *p, struct call *call, const char *name, const json_t *params);
/** page_wants - whether the next entry is on this page: an object, then, is put into @p's text; *stop when the page is full. */
bool page_wants(struct page *p, bool *stop);
/** page_end - of the list; other members may be put behind it. */
void page_end(struct page *p);
/** page_done - ends the call. @note: for people; may be NULL. */
void page_done(struct page *p, const char *note);

/* ---- shortened keys: key.c ---- */

#define CORE_CARRIER_MAX 8

/**
 * core_key_find - a whole key, or the beginning of one that is known here: of a transport, in the configuration, of an
 * exit that was listed last. How many it fits; *out is the key when that is 1.
 */
size_t core_key_find(struct core *core, const char *text, struct sg_pk *out);
/** core_key_read - the same for one key. False: the call was refused with a sentence. */
bool core_key_read(struct core *core, struct call *call, const char *text, struct sg_pk *out);
/** core_transport_find - the same of transports: by their keys, or by an id, which then says the carrier too, else "". */
size_t core_transport_find(struct core *core, const char *text, struct sg_pk *out, char carrier[CORE_CARRIER_MAX]);

/* ---- confinement ----------------------------------------------------------------------------------------------------- */

struct sandbox_state {
	bool wanted;
	int landlock; /* version of the kernel's interface; 0: the kernel has none */
	bool seccomp;
	char why[128]; /* what is missing, "" when all is there */
};

/** sandbox_files - Landlock, before the first thread. Never fails: the state says what is active. */
void sandbox_files(const struct core *core, struct sandbox_state *s);
/** sandbox_calls - seccomp, for all threads, once everything has started. */
void sandbox_calls(struct sandbox_state *s);

/* ---- life ------------------------------------------------------------------------------------------------------------ */

struct core {
	struct core_options opt;
	struct sg_loop *loop;
	struct sg_worker *worker; /* NULL: none could be had, or not yet */
	struct sg_crypto *crypto;
	struct sg_mono started;
	struct conf *conf; /* in force; NULL until the first was valid */
	struct sg_sk sk;
	struct sg_pk pk;
	struct foreign *foreign;
	struct store *store;
	struct store_space net_keys;  /* what net/ keeps there */
	struct store_space keys;      /* what core does */
	char store_why[CORE_WHY_MAX]; /* the plugin that was to keep things does not; "": none was to, or all is well */
	struct sg_links *links;
	struct sg_route *route;
	struct sg_net *net;
	struct sg_timer traffic; /* until the links' counters are looked at again */
	struct routing *routing;
	struct visors *visors;
	struct sg_identity identity;
	struct netd *netd; /* NULL: none */
	struct control *control;
	struct logs *logs;
	struct reload *reload;  /* under way, or NULL */
	struct sg_list plugins; /* struct plugin, all that were ever loaded */
	struct sg_list extra;   /* struct peer_extra */
	struct sandbox_state sandbox;
	int lock_fd;
	bool stopping;
	int status; /* of the process */
};

/** core_init - nothing but zeros and lists. */
void core_init(struct core *core, const struct core_options *opt);
/**
 * core_check - says all that is wrong with the configuration, the files that it names and the key. Root becomes the user of the
 * configuration for that. Exit status.
 */
int core_check(struct core *core);
/** core_identity - reads the key of the configuration. 0, or a negative code with a sentence. */
int core_identity(struct core *core, char *why, size_t cap);
/** core_run - the daemon's life. Exit status. */
int core_run(struct core *core);
/** core_fini - frees what is left; for both. */
void core_fini(struct core *core);
/** core_apply_log - what the configuration in force says of the log. */
void core_apply_log(const struct core *core);
/** core_stop - begins an orderly end. */
void core_stop(struct core *core, int status);

#endif
