// SPDX-License-Identifier: GPL-2.0-only
// What bio_vec-accessors.cocci must change, and what it must not.
#include "bio_vec-accessors.h"

struct holder {
	struct bio_vec bv;
	struct bio_vec *bvec;
	struct bio_vec inline_vecs[4];
};

// an index is not lost, and neither is a member in the middle
struct page *reads(struct holder *h, struct bio_vec *bv, struct bio_vec one, int i)
{
	use(bv[i].bv_page, bv[i].bv_offset, bv[i].bv_len);
	use(h->bv.bv_page, h->bvec->bv_offset, 0);
	use(h->inline_vecs[2].bv_page, h->bvec[i + 1].bv_offset, 0);
	use((bv + 1)->bv_page, one.bv_offset + one.bv_len, 0);
	if (one.bv_page == h->bvec->bv_page)
		return NULL;
	return one.bv_page;
}

phys_addr_t pairs(struct bio_vec *bv, struct bio_vec one)
{
	void *p = kmap_local_page(bv->bv_page) + bv->bv_offset;
	struct folio *folio = page_folio(one.bv_page);

	touch(p, folio);
	// not a pair: the page of one, the offset of another
	touch(kmap_local_page(bv->bv_page) + one.bv_offset, folio);
	return page_to_phys(one.bv_page) + one.bv_offset;
}

void whole(struct bio_vec *bv, struct page **pages, int i)
{
	bv[i].bv_page = pages[i];
	bv[i].bv_offset = 0;
	bv[i].bv_len = 512;

	bv->bv_page = pages[0];
	bv->bv_len = 1024;
	bv->bv_offset = 256;
}

// half of an entry, and addresses of members: by hand
void half(struct bio_vec *bv, struct bio_vec one, struct page *page)
{
	bv->bv_page = page;
	one.bv_offset += 512;
	one.bv_page = NULL;
	escape(&bv->bv_offset);
	bv->bv_len = 512;
}
