/*
 * Netfilter: our table as text through libnftables (one run is one transaction), its generation and counters and the
 * connection table through libmnl.
 */
#include "netd/kernel_linux.h"
#include "base/alloc.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libnftnl/object.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/rtnetlink.h>
#include <nftables/libnftables.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TABLE     "skygate"
#define RUN_TRIES 3 /* of a text whose child was killed, by the kernel that is out of memory or by somebody */

static struct nft_ctx *context(void)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

	if (!ctx)
		return NULL;
	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	nft_ctx_output_set_flags(ctx, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL);
	return ctx;
}

static void write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			return;
		text += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
}

/* Until the other end is closed, new (sg_free); NULL when memory is out. */
static char *read_all(int fd)
{
	size_t len = 0, cap = 0;
	char *text = NULL;
	ssize_t n = 1;

	while (n > 0) {
		if (cap - len < 2) {
			char *more = sg_realloc(text, cap += 4096);

			if (!more) {
				sg_free(text);
				return NULL;
			}
			text = more;
		}
		do {
			n = read(fd, text + len, cap - len - 1);
		} while (n < 0 && errno == EINTR);
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	return text;
}

static _Noreturn void run_as_child(struct nft_ctx *ctx, const char *text, int to, pid_t parent)
{
	bool ok;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Killed before that: whoever comes next holds the rules, and this text is not theirs. */
	if (getppid() != parent)
		_exit(1);
	ok = nft_run_cmd_from_buffer(ctx, text) == 0;
	write_all(to, ok ? nft_ctx_get_output_buffer(ctx) : nft_ctx_get_error_buffer(ctx));
	_exit(ok ? 0 : 1);
}

/* No signal reaches the child: its handlers would tell us, for they write where ours do. */
static pid_t fork_silent(void)
{
	sigset_t all, before;
	pid_t child;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	child = fork();
	if (child != 0)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return child;
}

/*
 * A child runs the text, on the socket of @ctx: for each text libnftables takes some MiB, of which libc keeps two for as long
 * as we live. What it said is returned new in *out (sg_free), also where it refused: -EINVAL.
 */
static int run_in(struct nft_ctx *ctx, const char *text, char **out)
{
	int ends[2], status;
	pid_t parent = getpid(), child, ended;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork_silent();
	if (child == 0)
		run_as_child(ctx, text, ends[1], parent);
	close(ends[1]);
	*out = child > 0 ? read_all(ends[0]) : NULL;
	close(ends[0]);
	if (child < 0)
		return -EAGAIN;
	do {
		ended = waitpid(child, &status, 0);
	} while (ended < 0 && errno == EINTR);
	if (*out && ended == child && WIFEXITED(status))
		return WEXITSTATUS(status) == 0 ? 0 : -EINVAL;
	sg_free(*out);
	*out = NULL;
	return ended == child && WIFEXITED(status) ? -ENOMEM : -EIO;
}

/* The same, the first line of what was refused in @why. */
static int run_for(struct nft_ctx *ctx, const char *text, char **out, char *why, size_t cap)
{
	int err = run_in(ctx, text, out);

	if (err < 0) {
		snprintf(why, cap, "%s", *out ? *out : sg_strerror(err));
		why[strcspn(why, "\n")] = '\0';
		sg_free(*out);
		*out = NULL;
	}
	return err;
}

/* Runs one text; what it printed is returned new in *out. Any text may be run twice: again where its child was killed. */
static int run(const char *text, char **out, char *why, size_t cap)
{
	int err = -EIO;

	*out = NULL;
	for (int i = 0; i < RUN_TRIES && err == -EIO; i++) {
		struct nft_ctx *ctx = context();

		if (!ctx)
			return -ENOMEM;
		err = run_for(ctx, text, out, why, cap);
		nft_ctx_free(ctx);
	}
	return err;
}

int kernel_nft_run(struct kernel *k, const char *text, char *why, size_t cap)
{
	char *said;
	int err = run(text, &said, why, cap);

	(void)k;
	sg_free(said);
	return err;
}

/*
 * One context for all of the guard's texts: its socket is the table's owner, so closing it removes the table, also where
 * we are killed. What a killed child leaves unread there does not disturb the next.
 */
int kernel_guard(struct kernel *k, const char *text, char *why, size_t cap)
{
	if (text) {
		char *said = NULL;
		int err = -EIO;

		if (!k->guard && !(k->guard = context()))
			return -ENOMEM;
		for (int i = 0; i < RUN_TRIES && err == -EIO; i++)
			err = run_for(k->guard, text, &said, why, cap);
		sg_free(said);
		return err;
	}
	if (k->guard)
		nft_ctx_free(k->guard);
	k->guard = NULL;
	return 0;
}

/* A question about one table of our family; NULL: about none. */
static struct nlmsghdr *question(char *room, uint16_t type, uint16_t flags, const char *table)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(room);
	struct nfgenmsg *m;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8) | type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->nfgen_family = NFPROTO_INET;
	m->version = NFNETLINK_V0;
	if (table)
		mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, table);
	return nlh;
}

static int table_there(struct kernel *k, const char *table)
{
	union {
		char room[256];
		struct nlmsghdr align;
	} buf;

	return kernel_talk(k, k->nft, question(buf.room, NFT_MSG_GETTABLE, NLM_F_ACK, table), NULL, NULL);
}

bool kernel_guarded(struct kernel *k)
{
	return table_there(k, NETD_GUARD) == 0;
}

int kernel_nft_list(struct kernel *k, char **out)
{
	char why[160];
	int err = table_there(k, TABLE);

	*out = NULL;
	return err < 0 ? err : run("list table inet " TABLE "\n", out, why, sizeof(why));
}

static int on_gen(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;
	uint32_t *gen = arg;

	mnl_attr_for_each(a, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(a) == NFTA_GEN_ID)
			*gen = ntohl(mnl_attr_get_u32(a));
	}
	return MNL_CB_OK;
}

int kernel_nft_gen(struct kernel *k, uint32_t *gen)
{
	union {
		char room[256];
		struct nlmsghdr align;
	} buf;

	*gen = 0;
	return kernel_talk(k, k->nft, question(buf.room, NFT_MSG_GETGEN, NLM_F_ACK, NULL), on_gen, gen);
}

static int on_object(const struct nlmsghdr *nlh, void *arg)
{
	struct nftnl_obj *o = nftnl_obj_alloc();
	struct k_counts *c = arg;

	if (!o) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	if (nftnl_obj_nlmsg_parse(nlh, o) == 0 && nftnl_obj_get_u32(o, NFTNL_OBJ_TYPE) == NFT_OBJECT_COUNTER) {
		const char *name = nftnl_obj_get_str(o, NFTNL_OBJ_NAME);
		uint64_t packets = nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_PKTS);

		if (strcmp(name, "blocked") == 0)
			c->blocked = packets;
		else if (strcmp(name, "refused") == 0)
			c->refused = packets;
		else if (strcmp(name, "forged") == 0)
			c->forged = packets;
	}
	nftnl_obj_free(o);
	return MNL_CB_OK;
}

int kernel_counts(struct kernel *k, struct k_counts *out)
{
	union {
		char room[256];
		struct nlmsghdr align;
	} buf;

	memset(out, 0, sizeof(*out));
	return kernel_talk(k, k->nft, question(buf.room, NFT_MSG_GETOBJ, NLM_F_DUMP, TABLE), on_object, out);
}

/* ---- connections ----------------------------------------------------------------------------------------------- */

/* One connection to forget: its original tuple, as the kernel wrote it. */
struct tuple {
	uint8_t family;
	uint16_t len;
	uint8_t bytes[128];
};

struct flush {
	const struct k_prefix *prefixes;
	size_t n;
	bool all;
	struct tuple *tuples;
	size_t n_tuples;
};

/* The two addresses of a tuple. */
static size_t tuple_ends(const struct nlattr *tuple, uint8_t family, struct k_prefix ends[2])
{
	const struct nlattr *a, *ip;
	size_t n = 0, len = family == AF_INET ? 4 : 16;

	mnl_attr_for_each_nested(a, tuple)
	{
		if (mnl_attr_get_type(a) != CTA_TUPLE_IP)
			continue;
		mnl_attr_for_each_nested(ip, a)
		{
			if (n == 2 || mnl_attr_get_payload_len(ip) != len)
				continue;
			ends[n] = (struct k_prefix){.family = family, .bits = (uint8_t)(8 * len)};
			memcpy(ends[n++].b, mnl_attr_get_payload(ip), len);
		}
	}
	return n;
}

static bool tuple_meant(const struct flush *f, const struct nlattr *tuple, uint8_t family)
{
	struct k_prefix ends[2];
	size_t n = tuple_ends(tuple, family, ends);

	for (size_t e = 0; e < n; e++) {
		for (size_t i = 0; i < f->n; i++) {
			if (k_prefix_has(&f->prefixes[i], &ends[e]))
				return true;
		}
	}
	return f->all;
}

static int on_connection(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *m = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a, *orig = NULL;
	struct flush *f = arg;
	struct tuple t = {.family = m->nfgen_family};
	bool meant = false;

	if (m->nfgen_family != AF_INET && m->nfgen_family != AF_INET6)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		/* The reply's tuple names a LAN host behind a port forwarding. */
		if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
			orig = a;
		if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG || mnl_attr_get_type(a) == CTA_TUPLE_REPLY)
			meant = meant || tuple_meant(f, a, m->nfgen_family);
	}
	if (!orig || !meant || mnl_attr_get_payload_len(orig) > sizeof(t.bytes))
		return MNL_CB_OK;
	t.len = mnl_attr_get_payload_len(orig);
	memcpy(t.bytes, mnl_attr_get_payload(orig), t.len);
	if (k_push(&f->tuples, &f->n_tuples, sizeof(t), &t) < 0) {
		errno = ENOMEM;
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *connection_message(char *room, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(room);
	struct nfgenmsg *m;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8) | type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	m = mnl_nlmsg_put_extra_header(nlh, sizeof(*m));
	m->nfgen_family = family;
	m->version = NFNETLINK_V0;
	return nlh;
}

int kernel_flush(struct kernel *k, const struct k_prefix *prefixes, size_t n, bool all)
{
	struct flush f = {.prefixes = prefixes, .n = n, .all = all};
	union {
		char room[256];
		struct nlmsghdr align;
	} buf;
	int err = kernel_talk(
		k, k->nft, connection_message(buf.room, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC), on_connection, &f);

	for (size_t i = 0; err == 0 && i < f.n_tuples; i++) {
		const struct tuple *t = &f.tuples[i];
		struct nlmsghdr *nlh = connection_message(buf.room, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, t->family);

		mnl_attr_put(nlh, CTA_TUPLE_ORIG | NLA_F_NESTED, t->len, t->bytes);
		err = kernel_talk(k, k->nft, nlh, NULL, NULL);
		if (err == -ENOENT) /* it ended by itself */
			err = 0;
	}
	sg_free(f.tuples);
	/* A kernel without connection tracking has nothing to forget. */
	return err == -EOPNOTSUPP || err == -EINVAL || err == -EPROTONOSUPPORT ? 0 : err;
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static int on_event(const struct nlmsghdr *nlh, void *arg)
{
	unsigned *changed = arg;

	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		*changed |= K_LINKS;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		*changed |= K_ADDRS;
		break;
	default:
		*changed |= K_ROUTES;
	}
	return MNL_CB_OK;
}

unsigned kernel_events(struct kernel *k, size_t which)
{
	static const unsigned everything[K_EVENT_FDS] = {K_LINKS | K_ADDRS | K_ROUTES, K_NFT};
	union {
		char room[16384];
		struct nlmsghdr align;
	} buf;
	unsigned changed = 0;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(k->events[which], buf.room, sizeof(buf.room));

		if (n < 0 && errno == EINTR)
			continue;
		/* Too many at once: some were lost, all may have changed. Messages cut short likewise. */
		if (n < 0 && (errno == ENOBUFS || errno == ENOSPC)) {
			changed |= everything[which];
			continue;
		}
		if (n <= 0)
			return changed;
		if (which == 1)
			changed |= K_NFT;
		else
			mnl_cb_run(buf.room, (size_t)n, 0, 0, on_event, &changed);
	}
}
