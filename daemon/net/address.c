/* Addresses of this machine. */
#include "base/common.h"
#include "net/internal.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

static bool take(const struct sockaddr *sa, char out[SG_IP_TEXT])
{
	if (sa && sa->sa_family == AF_INET) {
		const struct in_addr *ip = &((const struct sockaddr_in *)sa)->sin_addr;

		return ntohl(ip->s_addr) >> 16 != 0xa9fe && inet_ntop(AF_INET, ip, out, SG_IP_TEXT);
	}
	if (sa && sa->sa_family == AF_INET6) {
		const struct in6_addr *ip = &((const struct sockaddr_in6 *)sa)->sin6_addr;

		return !IN6_IS_ADDR_LINKLOCAL(ip) && inet_ntop(AF_INET6, ip, out, SG_IP_TEXT);
	}
	return false;
}

size_t address_list(char (*out)[SG_IP_TEXT], size_t max)
{
	struct ifaddrs *all, *i;
	size_t n = 0;

	if (getifaddrs(&all) < 0)
		return 0;
	for (i = all; i && n < max; i = i->ifa_next) {
		if (take(i->ifa_addr, out[n]))
			n++;
	}
	freeifaddrs(all);
	return n;
}

bool address_public(const char *ip)
{
	uint32_t a;

	if (sg_ip4_parse(ip, &a) < 0)
		return false;
	return a >> 24 != 0 && a >> 24 != 10 && a >> 24 != 127 && a >> 20 != 0xac1 && a >> 16 != 0xc0a8 &&
	       a >> 16 != 0xa9fe && a >> 28 < 14;
}
