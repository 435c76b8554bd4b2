struct phys_vec {
	phys_addr_t	paddr;
	size_t		len;
};

/* Another struct with members of the same names: must not change. */
struct other_vec {
	phys_addr_t	paddr;
	size_t		len;
};

struct holder {
	struct phys_vec phys;
	struct phys_vec *phys_vec;
	struct phys_vec array[4];
	struct other_vec other;
};

/* Declared elsewhere: its members have no known type here. */
struct unknown;

int fill_phys_vec(struct phys_vec *phys_vec, size_t nr);

static phys_addr_t first(const struct phys_vec *vec)
{
	return vec->paddr + vec->len;
}

static phys_addr_t indexed(struct phys_vec *vec, int i)
{
	/* The index must survive. */
	return vec[i].paddr + (&vec[i])->paddr + (vec + i)->paddr;
}

static phys_addr_t nested(struct holder *h, int i)
{
	return h->phys.paddr + h->array[i].paddr + h->phys_vec[i].paddr +
	       h->other.paddr;
}

static phys_addr_t addresses(struct phys_vec *vec, int i)
{
	phys_addr_t *p = &vec->paddr, *q = &vec[i].paddr;

	vec[i].paddr += PAGE_SIZE;
	return *p + *q;
}

static phys_addr_t other(struct other_vec *vec, struct unknown *u)
{
	phys_addr_t paddr = vec->paddr;

	return paddr + vec[1].paddr + u->paddr;
}

static size_t local(phys_addr_t paddr)
{
	struct phys_vec vec = {
		.paddr = paddr,
		.len = sizeof(struct phys_vec),
	};
	struct other_vec keep = {
		.paddr = paddr,
	};
	struct phys_vec phys_vec;

	phys_vec.paddr = vec.paddr;
	phys_vec.len = 0;
	vec = (struct phys_vec) {
		.paddr = keep.paddr,
		.len = 1,
	};
	return fill_phys_vec(&phys_vec, 1) + vec.len;
}
