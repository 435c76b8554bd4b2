/* SPDX-License-Identifier: GPL-2.0-only */
/* As much as bio_vec-accessors.c and .res take to compile. */
#include <stddef.h>

typedef unsigned long long phys_addr_t;
struct page;
struct folio;
struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len, bv_offset;
};

void use(struct page *page, unsigned int offset, unsigned int len);
void touch(void *p, struct folio *folio);
void escape(unsigned int *offset);
void *kmap_local_page(const struct page *page);
struct folio *page_folio(const struct page *page);
phys_addr_t page_to_phys(const struct page *page);

struct page *bvec_page(const struct bio_vec *bv);
unsigned int bvec_offset(const struct bio_vec *bv);
phys_addr_t bvec_phys(const struct bio_vec *bv);
void *bvec_kmap_local(const struct bio_vec *bv);
struct folio *bvec_folio(const struct bio_vec *bv);
void bvec_set_page(struct bio_vec *bv, struct page *page, unsigned int len, unsigned int offset);
