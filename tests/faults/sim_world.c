/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Neutron and its tenants: routers come, go and come again under the same name, floating IPs come, go and move, HA
 * routers change sides, and packets flow.  Each change makes the events that the kernel would make: links and addresses
 * always, rules in the nft flavour alone.
 */
#include "sim.h"

#include "core/plan.h"
#include "inventory/watch.h"

#include <string.h>

#define ROUTERS 5    /* names */
#define FLOATINGS 10 /* addresses of the cloud, for all routers */
#define FIXED 6      /* VMs of a router */
#define FLOATING_IP(n) (0xc6336464u + (n))
#define GATEWAY_IP(n) (0xc6336414u + (n))
#define FIXED_IP(subnet, n) (0x0a000000u + ((subnet) << 8) + 10 + (n))

enum what { COMES_ADDRESS, COMES_ROUTER, COMES_DEVICE };

struct arrival {
	int64_t at_us;
	enum what what;
	const char *ns; /* interned */
	uint32_t address;
};

static const char *const names[ROUTERS] = { "qrouter-a", "qrouter-b", "qrouter-c", "qrouter-d", "qrouter-e" };
static const char *const class_names[] = { "internet", "cloud", "free" };

struct net *world_net(const char *ns)
{
	for (unsigned i = 0; i < sim.nets->len; i++) {
		struct net *net = sim.nets->pdata[i];

		if (net->linked && g_str_equal(net->ns, ns))
			return net;
	}
	return NULL;
}

struct router *world_router(const struct net *net)
{
	struct router *router = router_new(net->ns, net->router);
	bool there = net->linked; /* devices go before the name does */
	struct prefix onlink = { .address = 0xc6336400, .length = 24 };

	router->flavour = net->flavour;
	router->external = net->external && there;
	router->gateway = net->gateway;
	router->gateway_served = net->gateway && there && !net->standby;
	for (unsigned i = 0; i < net->floating->len; i++) {
		struct floating floating = g_array_index(net->floating, struct floating, i);

		floating.served &= there && !net->standby;
		g_array_append_val(router->floating, floating);
	}
	if (!there || net->standby)
		return router;
	g_array_append_vals(router->local, net->local->data, net->local->len);
	g_array_append_val(router->onlink, onlink);
	return router;
}

static struct version *version_new(const struct net *net)
{
	struct version *version = g_new0(struct version, 1);

	version->since_us = sim.real_us;
	version->router = net->router;
	g_ptr_array_add(sim.versions, version);
	return version;
}

/* From now on the router has that address; 0: it has no gateway address. */
static void stay(struct net *net, uint32_t address)
{
	g_hash_table_insert(net->stays, GUINT_TO_POINTER(address), version_new(net));
}

static struct version *stay_of(const struct net *net, uint32_t address)
{
	return g_hash_table_lookup(net->stays, GUINT_TO_POINTER(address));
}

static void look_at(struct version *version)
{
	if (version->looked)
		return;
	version->looked = true;
	g_ptr_array_add(sim.untold, version);
}

void world_looked_at(struct net *net)
{
	if (!net->linked)
		return; /* its addresses are gone: what was there is not to be seen */
	look_at(net->version);
	look_at(stay_of(net, net->gateway));
	for (unsigned i = 0; i < net->floating->len; i++)
		look_at(stay_of(net, g_array_index(net->floating, struct floating, i).address));
}

void world_told_of(const char *router)
{
	for (unsigned i = sim.untold->len; i > 0; i--)
		if (g_str_equal(((struct version *)sim.untold->pdata[i - 1])->router, router))
			g_ptr_array_remove_index_fast(sim.untold, i - 1);
}

void world_forget_looks(void)
{
	for (unsigned i = 0; i < sim.untold->len; i++)
		((struct version *)sim.untold->pdata[i])->looked = false;
	g_ptr_array_set_size(sim.untold, 0);
}

static void touch(struct net *net, bool rules)
{
	net->version = version_new(net);
	net->changes += rules;
	if (!rules || net->flavour == FLAVOUR_NFT)
		kernel_tell(WATCH_CHANGED, net->ns);
	else if (!sim.poll_us)
		sim.poll_us = sim.real_us + (int64_t)sim_random(SECOND);
}

/* ---- packets ---- */

static struct floating *floating_at(const struct net *net, unsigned i)
{
	return &g_array_index(net->floating, struct floating, i);
}

static uint32_t random_fixed(const struct net *net)
{
	const struct prefix *subnet = &g_array_index(net->local, struct prefix, sim_random(net->local->len));

	return FIXED_IP(subnet->address >> 8 & 0xff, sim_random(FIXED));
}

/* Row 3 or 4 of the truth table, by Neutron's rules. */
static void own_source(const struct net *net, uint32_t source, struct parcel *parcel)
{
	parcel->key.kind = net->gateway ? KIND_GATEWAY : KIND_UNATTRIBUTED;
	parcel->key.address = net->gateway;
	for (unsigned i = 0; i < net->floating->len; i++) {
		if (floating_at(net, i)->fixed != source)
			continue;
		parcel->key.kind = KIND_FLOATING;
		parcel->key.address = floating_at(net, i)->address;
		parcel->fixed = source;
		return;
	}
}

/* Row 1 or 2; false if nothing of that kind is there. */
static bool own_destination(const struct net *net, struct parcel *parcel)
{
	unsigned n = sim_random(net->floating->len + 1);

	if (n == net->floating->len) {
		parcel->key.kind = KIND_GATEWAY;
		parcel->key.address = net->gateway;
		return net->gateway;
	}
	parcel->key.kind = KIND_FLOATING;
	parcel->key.address = floating_at(net, n)->address;
	parcel->fixed = floating_at(net, n)->fixed;
	return floating_at(net, n)->served;
}

void world_traffic(void)
{
	struct net *net = sim.nets->len ? sim.nets->pdata[sim_random(sim.nets->len)] : NULL;
	struct parcel made = { .at_us = sim.real_us, .utc_us = sim.real_us + sim.offset_us }, *parcel;
	uint32_t source;

	if (!net || !net->linked || !net->external || net->standby || !net->local->len)
		return;
	made.key.class_name = g_intern_string(class_names[sim_random(10) < 7 ? 0 : sim_random(3)]);
	made.packets = 1 + sim_random(100);
	made.bytes = made.packets * (40 + sim_random(1400));
	made.out = sim_random(2);
	source = random_fixed(net);
	if (made.out)
		own_source(net, source, &made);
	else if (!own_destination(net, &made))
		return;
	made.router = net->router;
	made.deaf = !sim.up || !sim.watching;
	made.version = net->version;
	made.stay = stay_of(net, made.key.address);
	made.legacy = net->flavour == FLAVOUR_LEGACY;
	parcel = g_memdup2(&made, sizeof made);
	g_ptr_array_add(sim.parcels, parcel);
	counters_receive(net, parcel, made.out ? source : made.key.address);
	sim.true_bytes += made.bytes;
}

/* ---- what is to come ---- */

static void expect(int64_t in_us, enum what what, const char *ns, uint32_t address)
{
	struct arrival arrival = { sim.real_us + in_us, what, ns, address };

	g_array_append_val(sim.arrivals, arrival);
}

int64_t world_next_us(void)
{
	int64_t next_us = INT64_MAX;

	for (unsigned i = 0; i < sim.arrivals->len; i++)
		next_us = MIN(next_us, g_array_index(sim.arrivals, struct arrival, i).at_us);
	return next_us;
}

static void add_router(const char *ns);

static void arrive(const struct arrival *arrival)
{
	struct net *net = world_net(arrival->ns);

	if (arrival->what == COMES_ROUTER) {
		if (!net)
			add_router(arrival->ns);
		return;
	}
	if (net && arrival->what == COMES_DEVICE) {
		sim_trace("the external device of %s comes", net->ns);
		net->external = true;
		touch(net, false);
	}
	for (unsigned i = 0; net && arrival->what == COMES_ADDRESS && i < net->floating->len; i++) {
		if (floating_at(net, i)->address != arrival->address || floating_at(net, i)->served)
			continue;
		sim_trace("address %x comes in %s", arrival->address, net->ns);
		floating_at(net, i)->served = true;
		touch(net, false);
	}
}

static void take_arrivals(void)
{
	for (unsigned i = 0; i < sim.arrivals->len; i++) {
		struct arrival arrival = g_array_index(sim.arrivals, struct arrival, i);

		if (arrival.at_us > sim.real_us)
			continue;
		g_array_remove_index(sim.arrivals, i);
		i = (unsigned)-1;
		arrive(&arrival);
	}
}

void world_advance(int64_t to_us)
{
	while (to_us > sim.real_us) {
		int64_t next_us = MIN(to_us, world_next_us());
		unsigned n = sim_random(next_us - sim.real_us > MINUTE ? 7 : 3);

		for (; n > 0 && next_us > sim.real_us; n--) {
			sim.real_us += (int64_t)sim_random((uint64_t)(next_us - sim.real_us));
			world_traffic();
		}
		sim.real_us = MAX(next_us, sim.real_us);
		take_arrivals();
	}
}

/* ---- floating IPs ---- */

static int compare_floating(const void *a, const void *b)
{
	const struct floating *first = a, *second = b;

	return (first->address > second->address) - (first->address < second->address);
}

static struct net *random_net(void)
{
	struct net *net = sim.nets->len ? sim.nets->pdata[sim_random(sim.nets->len)] : NULL;

	return net && net->linked ? net : NULL;
}

static bool has_fixed(const struct net *net, uint32_t fixed)
{
	for (unsigned i = 0; i < net->floating->len; i++)
		if (floating_at(net, i)->fixed == fixed)
			return true;
	return false;
}

static bool is_used(uint32_t address)
{
	for (unsigned i = 0; i < sim.nets->len; i++) {
		const struct net *net = sim.nets->pdata[i];

		for (unsigned j = 0; net->linked && j < net->floating->len; j++)
			if (floating_at(net, j)->address == address)
				return true;
	}
	return false;
}

/* Measured with a real Neutron: the rules come 65 to 130 ms before the address. */
static void add_floating(struct net *net, uint32_t address)
{
	struct floating floating = { .address = address };

	if (!net->local->len)
		return;
	floating.fixed = random_fixed(net);
	if (is_used(address) || has_fixed(net, floating.fixed))
		return;
	sim_trace("floating %x -> %x comes to %s", address, floating.fixed, net->ns);
	floating.served = sim_chance(0.1); /* a rule that was late */
	if (!floating.served)
		expect(65000 + (int64_t)sim_random(65000), COMES_ADDRESS, net->ns, address);
	g_array_append_val(net->floating, floating);
	stay(net, address);
	g_array_sort(net->floating, compare_floating);
	touch(net, true);
	if (floating.served)
		touch(net, false);
}

static uint32_t remove_floating(struct net *net)
{
	unsigned at = sim_random(MAX(net->floating->len, 1));
	uint32_t address;

	if (!net->floating->len)
		return 0;
	address = floating_at(net, at)->address;
	sim_trace("floating %x goes from %s", address, net->ns);
	floating_at(net, at)->served = false;
	touch(net, false);
	if (sim_chance(0.3))
		world_advance(sim.real_us + (int64_t)sim_random(200000));
	for (at = 0; at < net->floating->len; at++)
		if (floating_at(net, at)->address == address)
			break;
	if (at < net->floating->len)
		g_array_remove_index(net->floating, at);
	touch(net, true);
	return address;
}

static void move_inside(struct net *net)
{
	uint32_t fixed = net->local->len ? random_fixed(net) : 0;

	if (!net->floating->len || !fixed || has_fixed(net, fixed))
		return;
	sim_trace("floating IP of %s moves to %x", net->ns, fixed);
	floating_at(net, sim_random(net->floating->len))->fixed = fixed;
	touch(net, true);
}

static void swap_inside(struct net *net)
{
	struct floating *first, *second;
	uint32_t fixed;

	if (net->floating->len < 2)
		return;
	first = floating_at(net, 0);
	second = floating_at(net, 1);
	sim_trace("floating %x and %x of %s change places", first->address, second->address, net->ns);
	fixed = first->fixed;
	first->fixed = second->fixed;
	second->fixed = fixed;
	touch(net, true);
}

static void move_away(struct net *net)
{
	struct net *other = random_net();
	uint32_t address = other && other != net ? remove_floating(net) : 0;

	if (address && other->linked)
		add_floating(other, address);
}

/* ---- routers ---- */

static uint64_t free_inode(void)
{
	for (uint64_t inode = 1;; inode++) {
		bool used = false;

		for (unsigned i = 0; i < sim.nets->len; i++)
			used |= ((struct net *)sim.nets->pdata[i])->inode == inode;
		if (!used)
			return inode;
	}
}

static void add_subnet(struct net *net)
{
	struct prefix subnet = { .address = 0x0a000000 + ((uint32_t)net->local->len << 8), .length = 24 };

	if (net->local->len >= 3)
		return;
	g_array_append_val(net->local, subnet);
	touch(net, false);
}

static void add_router(const char *ns)
{
	struct net *net = g_new0(struct net, 1);

	sim_trace("router %s comes", ns);
	net->ns = g_intern_string(ns);
	net->router = g_intern_string(strchr(ns, '-') + 1);
	net->inode = free_inode();
	net->linked = true;
	net->flavour = sim_chance(0.6) ? FLAVOUR_NFT : FLAVOUR_LEGACY;
	net->standby = sim_chance(0.15);
	net->gateway = sim_chance(0.8) ? GATEWAY_IP((uint32_t)ns[8]) : 0;
	net->floating = g_array_new(FALSE, TRUE, sizeof(struct floating));
	net->local = g_array_new(FALSE, TRUE, sizeof(struct prefix));
	for (unsigned i = 0; i < TABLES; i++)
		net->tables[i].live = -1;
	net->stays = g_hash_table_new(g_direct_hash, g_direct_equal);
	stay(net, net->gateway);
	g_ptr_array_add(sim.nets, net);
	touch(net, true);
	add_subnet(net);
	kernel_tell(WATCH_CAME, net->ns);
	if (sim_chance(0.95)) /* Neutron makes the namespace first, and needs longer for what is in it */
		expect(110000 + (int64_t)sim_random(400000), COMES_DEVICE, net->ns, 0);
	for (unsigned n = sim_random(4); n > 0; n--)
		add_floating(net, FLOATING_IP(sim_random(FLOATINGS)));
}

/* In haste: no rule is removed; devices go, then the name. */
static void remove_router(struct net *net, bool again)
{
	const char *ns = net->ns;

	sim_trace("router %s goes%s", ns, again ? " and comes again" : "");
	net->linked = false;
	kernel_tell(WATCH_WENT, ns);
	kernel_drop(net);
	if (again && sim_chance(0.5))
		add_router(ns);
	else if (again)
		expect((int64_t)sim_random(3 * SECOND), COMES_ROUTER, g_intern_string(ns), 0);
}

static void fail_over(struct net *net)
{
	net->standby = !net->standby;
	sim_trace("%s is %s", net->ns, net->standby ? "standby" : "master");
	touch(net, false);
}

static void change_router(struct net *net)
{
	switch (sim_random(4)) {
	case 0:
		net->gateway = net->gateway ? 0 : GATEWAY_IP(sim_random(20));
		stay(net, net->gateway);
		sim_trace("gateway of %s is %x", net->ns, net->gateway);
		touch(net, true);
		touch(net, false);
		break;
	case 1:
		sim_trace("a subnet comes to %s", net->ns);
		add_subnet(net);
		break;
	case 2:
		if (net->local->len > 1)
			g_array_set_size(net->local, net->local->len - 1);
		sim_trace("%s has %u subnets", net->ns, net->local->len);
		touch(net, false);
		break;
	default:
		net->external = !net->external;
		sim_trace("%s has %s external device", net->ns, net->external ? "an" : "no");
		touch(net, false);
	}
}

void world_change(void)
{
	const char *ns = names[sim_random(ROUTERS)];
	struct net *net = random_net();
	uint64_t what = sim_random(100);

	sim.changes++;
	if (!world_net(ns) && what < 30)
		add_router(ns);
	else if (!net)
		return;
	else if (what < 38)
		remove_router(net, what < 33);
	else if (what < 55)
		add_floating(net, FLOATING_IP(sim_random(FLOATINGS)));
	else if (what < 63)
		remove_floating(net);
	else if (what < 73)
		move_inside(net);
	else if (what < 77)
		swap_inside(net);
	else if (what < 81)
		move_away(net);
	else if (what < 86)
		fail_over(net);
	else if (what < 90)
		change_router(net);
	else
		counters_neighbour(net);
	if (sim_chance(0.02))
		sim.events_lost = true;
}

/* Nothing of the kernel outlives it; Neutron makes its routers again. */
void world_reboot(void)
{
	sim_trace("the machine starts anew");
	g_hash_table_remove_all(sim.kept);
	kernel_clear();
	for (unsigned i = sim.nets->len; i > 0; i--) {
		struct net *net = sim.nets->pdata[i - 1];

		net->linked = false;
		net->holds = 0;
		if (sim_chance(0.8))
			expect(20 * SECOND + (int64_t)sim_random(30 * SECOND), COMES_ROUTER, net->ns, 0);
		kernel_drop(net);
	}
	sim.boots++;
	g_snprintf(sim.boot, sizeof sim.boot, "boot-%u", sim.boots);
	sim.booted_us = sim.real_us;
	sim.real_us += 15 * SECOND;
}

void world_settle(void)
{
	while (sim.arrivals->len)
		world_advance(world_next_us());
}

static void net_free(void *data)
{
	struct net *net = data;

	counters_clear(net);
	g_array_unref(net->floating);
	g_array_unref(net->local);
	g_hash_table_unref(net->stays);
	g_free(net);
}

void world_init(void)
{
	sim.nets = g_ptr_array_new_with_free_func(net_free);
	sim.fds = g_ptr_array_new();
	sim.parcels = g_ptr_array_new_with_free_func(g_free);
	sim.versions = g_ptr_array_new_with_free_func(g_free);
	sim.untold = g_ptr_array_new();
	sim.arrivals = g_array_new(FALSE, FALSE, sizeof(struct arrival));
	sim.events = g_ptr_array_new_with_free_func(g_free);
	sim.kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	sim.lives = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
	for (unsigned i = sim_random(ROUTERS); i < ROUTERS; i++)
		add_router(names[i]);
}

void world_clear(void)
{
	kernel_clear();
	g_ptr_array_unref(sim.nets);
	g_ptr_array_unref(sim.fds);
	g_ptr_array_unref(sim.parcels);
	g_ptr_array_unref(sim.versions);
	g_ptr_array_unref(sim.untold);
	g_array_unref(sim.arrivals);
	g_ptr_array_unref(sim.events);
	g_hash_table_unref(sim.kept);
	g_hash_table_unref(sim.lives);
}
