/* The kernel in memory. What is put in is found again in the order in which it came; nothing else is simulated. */
#include "fake/kernel.h"
#include "wire/schema.h"
#include "base/alloc.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

static void need(bool ok)
{
	if (!ok)
		abort();
}

/* The fake's own memory is not the product's: a test that makes allocations fail means the product's. */
static void append(void *array, size_t *n, size_t size, const void *item)
{
	void *p;

	memcpy(&p, array, sizeof(p));
	p = realloc(p, (*n + 1) * size);
	need(p != NULL);
	memcpy((char *)p + (*n)++ * size, item, size);
	memcpy(array, &p, sizeof(p));
}

static void cut(void *array, size_t *n, size_t size, size_t i)
{
	memmove((char *)array + i * size, (char *)array + (i + 1) * size, (*n - i - 1) * size);
	(*n)--;
}

struct kernel *fake_kernel_new(void)
{
	struct kernel *k = calloc(1, sizeof(*k));
	const char *const common[] = {"accept_redirects", "secure_redirects", "send_redirects", "accept_source_route"};

	need(k != NULL);
	for (size_t i = 0; i < K_EVENT_FDS; i++)
		need(pipe2(k->events[i], O_NONBLOCK | O_CLOEXEC) == 0);
	k->tun_far[0] = k->tun_far[1] = -1;
	fake_link(k, "lo");
	k->view.links[0].loopback = true;
	fake_addr(k, "lo", "127.0.0.1", 8);
	for (size_t i = 0; i < SG_ARRAY_LEN(common); i++) {
		char key[80];

		snprintf(key, sizeof(key), "net/ipv4/conf/all/%s", common[i]);
		fake_sysctl(k, key, "1");
	}
	fake_sysctl(k, "net/ipv4/conf/all/rp_filter", "0");
	fake_sysctl(k, "net/ipv4/tcp_mtu_probing", "0");
	fake_sysctl(k, "net/ipv4/tcp_retries1", "3");
	return k;
}

void fake_kernel_free(struct kernel *k)
{
	free(k->view.links);
	free(k->view.addrs);
	free(k->view.rules);
	free(k->view.routes);
	free(k->nft);
	free(k->guard);
	for (size_t i = 0; i < K_EVENT_FDS; i++) {
		close(k->events[i][0]);
		close(k->events[i][1]);
		if (k->tun_far[i] >= 0)
			close(k->tun_far[i]);
	}
	free(k);
}

uint32_t fake_link(struct kernel *k, const char *name)
{
	static const char *const conf[] = {"accept_redirects", "secure_redirects", "send_redirects",
		"accept_source_route", "rp_filter", "forwarding"};
	struct k_link l = {.index = (uint32_t)k->view.n_links + 1, .up = true, .mtu = 1500, .queue = 1000};
	char key[80];

	snprintf(l.name, sizeof(l.name), "%s", name);
	append(&k->view.links, &k->view.n_links, sizeof(l), &l);
	for (size_t i = 0; i < SG_ARRAY_LEN(conf); i++) {
		snprintf(key, sizeof(key), "net/ipv4/conf/%s/%s", name, conf[i]);
		fake_sysctl(k, key, i < 4 ? "1" : "0");
	}
	snprintf(key, sizeof(key), "net/ipv6/conf/%s/disable_ipv6", name);
	fake_sysctl(k, key, "0");
	return l.index;
}

void fake_addr(struct kernel *k, const char *dev, const char *address, unsigned bits)
{
	struct k_addr a = {.p = {.family = strchr(address, ':') ? AF_INET6 : AF_INET, .bits = (uint8_t)bits}};

	snprintf(a.dev, sizeof(a.dev), "%s", dev);
	need(inet_pton(a.p.family, address, a.p.b) == 1);
	append(&k->view.addrs, &k->view.n_addrs, sizeof(a), &a);
}

static size_t sysctl_find(const struct kernel *k, const char *key)
{
	size_t i = 0;

	while (i < k->n_sysctls && strcmp(k->sysctls[i].key, key) != 0)
		i++;
	return i;
}

void fake_sysctl(struct kernel *k, const char *key, const char *value)
{
	size_t i = sysctl_find(k, key);

	need(i < FAKE_SYSCTLS);
	if (i == k->n_sysctls)
		k->n_sysctls++;
	snprintf(k->sysctls[i].key, sizeof(k->sysctls[i].key), "%s", key);
	snprintf(k->sysctls[i].value, sizeof(k->sysctls[i].value), "%s", value);
}

const char *fake_sysctl_get(const struct kernel *k, const char *key)
{
	size_t i = sysctl_find(k, key);

	return i < k->n_sysctls ? k->sysctls[i].value : NULL;
}

void fake_event(struct kernel *k, size_t which, unsigned changed)
{
	k->pending[which] |= changed;
	need(write(k->events[which][1], "!", 1) == 1);
}

void fake_nft_flush(struct kernel *k)
{
	free(k->nft);
	k->nft = NULL;
	k->gen++;
	k->counts = (struct k_counts){0};
	fake_event(k, 1, K_NFT);
}

int fake_remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
			unlinkat(dirfd(dir), e->d_name, 0) < 0)
			(void)unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
	}
	if (dir)
		closedir(dir);
	return rmdir(path);
}

/* Counts a change; true when this one is to fail. */
static bool fails(struct kernel *k)
{
	k->changes++;
	return k->fail_at && --k->fail_at == 0;
}

/* ---- daemon/netd/kernel.h ---------------------------------------------------------------------------------------- */

int kernel_sysctl_get(struct kernel *k, const char *key, char *out, size_t cap)
{
	const char *value = fake_sysctl_get(k, key);

	if (!value)
		return -ENOENT;
	snprintf(out, cap, "%s", value);
	return 0;
}

int kernel_sysctl_set(struct kernel *k, const char *key, const char *value)
{
	if (fails(k))
		return -EIO;
	if (!fake_sysctl_get(k, key))
		return -ENOENT;
	fake_sysctl(k, key, value);
	return 0;
}

int kernel_tun_open(struct kernel *k, const char *name, int *fd, bool *offload, char *why, size_t cap)
{
	int pair[2], role = strcmp(name, SG_TUN_SERVER_NAME) == 0;

	if (k->tun_error) {
		snprintf(why, cap, "/dev/net/tun: %s", sg_strerror(k->tun_error));
		return k->tun_error;
	}
	need(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	k->tun_far[role] = pair[1];
	*fd = pair[0];
	*offload = true;
	fake_link(k, name);
	k->view.links[k->view.n_links - 1].up = false;
	return 0;
}

int kernel_tune(struct kernel *k, int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &type, &len) < 0 || type != IPPROTO_TCP)
		return -EINVAL;
	k->tuned++;
	return 0;
}

static int copy(void *to, size_t *n, const void *from, size_t n_from, size_t size)
{
	int err = 0;

	for (size_t i = 0; i < n_from && err == 0; i++)
		err = k_push(to, n, size, (const char *)from + i * size);
	return err;
}

int kernel_read(struct kernel *k, uint32_t table, struct k_view *out)
{
	const struct k_view *v = &k->view;
	int err;

	(void)table; /* there are no routes but ours */
	memset(out, 0, sizeof(*out));
	memcpy(out->multicast, v->multicast, sizeof(out->multicast));
	err = copy(&out->links, &out->n_links, v->links, v->n_links, sizeof(*v->links));
	if (err == 0)
		err = copy(&out->addrs, &out->n_addrs, v->addrs, v->n_addrs, sizeof(*v->addrs));
	if (err == 0)
		err = copy(&out->rules, &out->n_rules, v->rules, v->n_rules, sizeof(*v->rules));
	if (err == 0)
		err = copy(&out->routes, &out->n_routes, v->routes, v->n_routes, sizeof(*v->routes));
	if (err < 0)
		k_view_fini(out);
	return err;
}

int kernel_rule(struct kernel *k, bool add, const struct k_rule *rule)
{
	if (fails(k))
		return -EIO;
	if (add) {
		append(&k->view.rules, &k->view.n_rules, sizeof(*rule), rule);
		return 0;
	}
	for (size_t i = 0; i < k->view.n_rules; i++) {
		const struct k_rule *r = &k->view.rules[i];

		if (r->family == rule->family && r->prio == rule->prio && strcmp(r->iif, rule->iif) == 0 &&
			r->uid == rule->uid && r->verdict == rule->verdict && k_prefix_equal(&r->from, &rule->from) &&
			k_prefix_equal(&r->to, &rule->to)) {
			cut(k->view.rules, &k->view.n_rules, sizeof(*r), i);
			return 0;
		}
	}
	return 0;
}

int kernel_route(struct kernel *k, bool add, const struct k_route *route)
{
	const struct k_link *link = k_view_link(&k->view, route->dev);

	if (fails(k))
		return -EIO;
	if (add && route->dev[0] && (!link || !link->up))
		return -ENETDOWN;
	for (size_t i = 0; i < k->view.n_routes; i++) {
		const struct k_route *r = &k->view.routes[i];

		if (k_prefix_equal(&r->dst, &route->dst) && r->metric == route->metric && r->table == route->table &&
			(add || strcmp(r->dev, route->dev) == 0)) {
			cut(k->view.routes, &k->view.n_routes, sizeof(*r), i);
			break;
		}
	}
	if (add)
		append(&k->view.routes, &k->view.n_routes, sizeof(*route), route);
	return 0;
}

int kernel_addr(struct kernel *k, bool add, const struct k_addr *addr)
{
	if (fails(k))
		return -EIO;
	for (size_t i = 0; i < k->view.n_addrs; i++) {
		const struct k_addr *a = &k->view.addrs[i];

		if (k_prefix_equal(&a->p, &addr->p) && strcmp(a->dev, addr->dev) == 0) {
			cut(k->view.addrs, &k->view.n_addrs, sizeof(*a), i);
			break;
		}
	}
	if (add)
		append(&k->view.addrs, &k->view.n_addrs, sizeof(*addr), addr);
	return 0;
}

int kernel_link_up(struct kernel *k, const char *name, uint32_t mtu, uint32_t queue)
{
	if (fails(k))
		return -EIO;
	for (size_t i = 0; i < k->view.n_links; i++) {
		struct k_link *l = &k->view.links[i];

		if (strcmp(l->name, name) != 0)
			continue;
		l->up = true;
		l->mtu = mtu;
		l->queue = queue;
		return 0;
	}
	return -ENODEV;
}

int kernel_nft_run(struct kernel *k, const char *text, char *why, size_t cap)
{
	if (fails(k)) {
		snprintf(why, cap, "as the test wants");
		return -EIO;
	}
	free(k->nft);
	k->nft = strstr(text, "table inet skygate {") ? strdup(text) : NULL;
	k->gen++;
	k->counts = (struct k_counts){0};
	return 0;
}

int kernel_guard(struct kernel *k, const char *text, char *why, size_t cap)
{
	if (text && k->guard_refused) {
		snprintf(why, cap, "as the test wants");
		k->guard_asked++;
		return -EINVAL;
	}
	free(k->guard);
	k->guard = text ? strdup(text) : NULL;
	return 0;
}

int kernel_nft_list(struct kernel *k, char **out)
{
	*out = NULL;
	if (!k->nft)
		return -ENOENT;
	*out = sg_strdup(k->nft);
	return *out ? 0 : -ENOMEM;
}

int kernel_nft_gen(struct kernel *k, uint32_t *gen)
{
	*gen = k->gen;
	return 0;
}

int kernel_counts(struct kernel *k, struct k_counts *out)
{
	*out = k->counts;
	return 0;
}

int kernel_flush(struct kernel *k, const struct k_prefix *prefixes, size_t n, bool all)
{
	(void)prefixes;
	(void)n;
	k->flushes++;
	k->flushed_all = all;
	return 0;
}

int kernel_event_fd(struct kernel *k, size_t which)
{
	return k->events[which][0];
}

unsigned kernel_events(struct kernel *k, size_t which)
{
	unsigned changed = k->pending[which];
	char room[64];

	while (read(k->events[which][0], room, sizeof(room)) > 0)
		;
	k->pending[which] = 0;
	return changed;
}
