/* Sysctls: changed, remembered, put back. */
#include "netd/saved.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

SG_LOG_TOPIC("netd");

static const struct saved_entry *find(const struct saved *s, const char *key)
{
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(s->e[i].key, key) == 0)
			return &s->e[i];
	}
	return NULL;
}

/* net/ipv4/conf/DEVICE/NAME with the few names that we change, and the two keys of all connections. */
static bool key_ok(const char *key)
{
	static const char *const names[] = {"accept_redirects", "secure_redirects", "send_redirects",
		"accept_source_route", "rp_filter", "forwarding", "bc_forwarding"};
	static const char head[] = "net/ipv4/conf/";
	const char *dev, *slash;
	char name[IFNAMSIZ];

	if (strcmp(key, WANT_MTU_PROBING) == 0 || strcmp(key, WANT_TCP_RETRIES) == 0)
		return true;
	if (strncmp(key, head, sizeof(head) - 1) != 0)
		return false;
	dev = key + sizeof(head) - 1;
	slash = strchr(dev, '/');
	if (!slash || slash - dev >= IFNAMSIZ)
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)(slash - dev), dev);
	for (size_t i = 0; sg_ifname_ok(name) && i < SG_ARRAY_LEN(names); i++) {
		if (strcmp(slash + 1, names[i]) == 0)
			return true;
	}
	return false;
}

void saved_parse(const char *text, struct saved *out)
{
	out->n = 0;
	while (*text && out->n < SAVED_MAX) {
		struct saved_entry *e = &out->e[out->n];
		size_t line = strcspn(text, "\n"), key = strcspn(text, " \n");

		if (key < line && key < sizeof(e->key) && line - key - 1 < sizeof(e->value)) {
			snprintf(e->key, sizeof(e->key), "%.*s", (int)key, text);
			snprintf(e->value, sizeof(e->value), "%.*s", (int)(line - key - 1), text + key + 1);
			if (key_ok(e->key) && e->value[0] && strspn(e->value, "0123456789") == strlen(e->value) &&
				!find(out, e->key))
				out->n++;
		}
		text += line + (text[line] == '\n');
	}
}

int saved_format(const struct saved *s, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	for (size_t i = 0; i < s->n; i++)
		sg_text_addf(&t, "%s %s\n", s->e[i].key, s->e[i].value);
	return t.err ? -E2BIG : 0;
}

static bool wanted(const struct want *w, const char *key)
{
	for (size_t i = 0; i < w->n_sysctls; i++) {
		if (!w->sysctls[i].ours && strcmp(w->sysctls[i].key, key) == 0)
			return true;
	}
	return false;
}

static int store(const struct rundir *r, const struct saved *s, char *room)
{
	int err;

	if (s->n == 0)
		return rundir_remove(r, "saved");
	err = saved_format(s, room, SAVED_TEXT);
	return err < 0 ? err : rundir_write(r, "saved", room);
}

/* Puts back what nobody wants any more; a device that went took its sysctls along. */
static int put_back(struct kernel *k, const struct want *w, struct saved *s)
{
	size_t kept = 0;
	int first = 0;

	for (size_t i = 0; i < s->n; i++) {
		int err = wanted(w, s->e[i].key) ? 1 : kernel_sysctl_set(k, s->e[i].key, s->e[i].value);

		if (err > 0)
			s->e[kept++] = s->e[i];
		else if (err < 0 && err != -ENOENT && first == 0)
			first = err;
	}
	s->n = kept;
	return first;
}

static bool is_met(const struct want_sysctl *want, const char *now)
{
	uint64_t has, least;

	if (strcmp(now, want->value) == 0)
		return true;
	return want->at_least && sg_parse_u64(now, INT32_MAX, &has) == 0 &&
	       sg_parse_u64(want->value, INT32_MAX, &least) == 0 && has > least;
}

/* Adds those that will change to @s; *changes: something was added. */
static int remember(struct kernel *k, const struct want *w, struct saved *s, bool *changes)
{
	for (size_t i = 0; i < w->n_sysctls; i++) {
		const struct want_sysctl *want = &w->sysctls[i];
		char now[SAVED_VALUE];

		if (want->ours || find(s, want->key) || kernel_sysctl_get(k, want->key, now, sizeof(now)) < 0 ||
			is_met(want, now))
			continue;
		if (s->n == SAVED_MAX)
			return -E2BIG;
		snprintf(s->e[s->n].key, sizeof(s->e[0].key), "%s", want->key);
		snprintf(s->e[s->n].value, sizeof(s->e[0].value), "%s", now);
		s->n++;
		*changes = true;
	}
	return 0;
}

static int set(struct kernel *k, const struct want_sysctl *want)
{
	char now[SAVED_VALUE];
	int err = kernel_sysctl_get(k, want->key, now, sizeof(now));

	if (err == 0 && !is_met(want, now))
		err = kernel_sysctl_set(k, want->key, want->value);
	if (err == -ENOENT) /* the device went, or this kernel has no IPv6 */
		return 0;
	if (err < 0)
		log_warn("sysctl %s could not be set to %s: %s. Is /proc/sys mounted read-only?", want->key,
			want->value, sg_strerror(err));
	return err;
}

int saved_renamed(const struct rundir *r, const char *from, const char *to)
{
	struct saved s = {.e = sg_calloc(SAVED_MAX, sizeof(struct saved_entry))};
	char *room = sg_malloc(SAVED_TEXT), old[IFNAMSIZ + 16];
	int err = s.e && room ? rundir_read(r, "saved", room, SAVED_TEXT) : -ENOMEM;

	if (err == 0)
		saved_parse(room, &s);
	snprintf(old, sizeof(old), "net/ipv4/conf/%s/", from);
	for (size_t i = 0; i < s.n; i++) {
		char key[sizeof(s.e[i].key)];

		if (strncmp(s.e[i].key, old, strlen(old)) != 0)
			continue;
		snprintf(key, sizeof(key), "net/ipv4/conf/%s/%s", to, strrchr(s.e[i].key, '/') + 1);
		if (!find(&s, key))
			memcpy(s.e[i].key, key, sizeof(key));
	}
	if (err == 0)
		err = store(r, &s, room);
	sg_free(s.e);
	sg_free(room);
	return err == -ENOENT ? 0 : err;
}

int saved_apply(struct kernel *k, const struct rundir *r, const struct want *w)
{
	struct saved s = {.e = sg_calloc(SAVED_MAX, sizeof(struct saved_entry))};
	char *room = sg_malloc(SAVED_TEXT);
	size_t had;
	bool changes = false;
	int err = -ENOMEM, first = 0;

	if (!s.e || !room)
		goto out;
	if (rundir_read(r, "saved", room, SAVED_TEXT) == 0)
		saved_parse(room, &s);
	had = s.n;
	err = remember(k, w, &s, &changes);
	if (err == 0 && changes)
		err = store(r, &s, room);
	/* What could not be remembered is not changed. */
	for (size_t i = 0; err == 0 && i < w->n_sysctls; i++) {
		int one = set(k, &w->sysctls[i]);

		first = first ? first : one;
	}
	had = s.n > had ? s.n : had;
	first = first ? first : put_back(k, w, &s);
	if (err == 0 && s.n != had)
		err = store(r, &s, room);
out:
	sg_free(s.e);
	sg_free(room);
	return err ? err : first;
}
