// SPDX-License-Identifier: GPL-2.0-only
///
/// Reach the parts of a struct bio_vec through the accessors of <linux/bvec.h>.
///
//# The members bv_page and bv_offset exist in struct bio_vec only, so the rules
//# need no types, and work without headers.  What is not converted: a member
//# that is written on its own, or whose address is taken, since half of an
//# address cannot be set; these are reported.  <linux/bvec.h> itself must not
//# be given to this script.
///
// Confidence: High
// Options: --no-includes --include-headers
// Requires: 1.1.1
// Keywords: bio_vec, bv_page, bv_offset, bvec_page, bvec_offset

virtual patch
virtual report

// ---------------------------------------------------------------- patch

// All of an entry is set. The isomorphisms would turn b[i].bv_page into
// b->bv_page, here and below.

@depends on patch disable ptr_to_array, fld_to_ptr@
expression B, P, O, L;
@@
(
- B->bv_page = P;
- B->bv_offset = O;
- B->bv_len = L;
+ bvec_set_page(B, P, L, O);
|
- B->bv_page = P;
- B->bv_len = L;
- B->bv_offset = O;
+ bvec_set_page(B, P, L, O);
|
- B.bv_page = P;
- B.bv_offset = O;
- B.bv_len = L;
+ bvec_set_page(&B, P, L, O);
|
- B.bv_page = P;
- B.bv_len = L;
- B.bv_offset = O;
+ bvec_set_page(&B, P, L, O);
)

// Pairs that have a name.

@depends on patch disable ptr_to_array, fld_to_ptr@
expression B;
@@
(
- page_to_phys(B->bv_page) + B->bv_offset
+ bvec_phys(B)
|
- page_to_phys(B.bv_page) + B.bv_offset
+ bvec_phys(&B)
|
- kmap_local_page(B->bv_page) + B->bv_offset
+ bvec_kmap_local(B)
|
- kmap_local_page(B.bv_page) + B.bv_offset
+ bvec_kmap_local(&B)
|
- page_folio(B->bv_page)
+ bvec_folio(B)
|
- page_folio(B.bv_page)
+ bvec_folio(&B)
)

// Half of an entry is written: directly before the reads, since positions do
// not outlive another edit of the same function.

@w disable ptr_to_array, fld_to_ptr@
expression B, E;
position p;
@@
(
 B->bv_page@p = E
|
 B.bv_page@p = E
|
 B->bv_page@p += E
|
 B.bv_page@p += E
|
 B->bv_page@p++
|
 B.bv_page@p++
|
 &B->bv_page@p
|
 &B.bv_page@p
|
 B->bv_offset@p = E
|
 B.bv_offset@p = E
|
 B->bv_offset@p += E
|
 B.bv_offset@p += E
|
 B->bv_offset@p -= E
|
 B.bv_offset@p -= E
|
 &B->bv_offset@p
|
 &B.bv_offset@p
)

@depends on patch disable ptr_to_array, fld_to_ptr@
expression B;
position p != w.p;
@@
(
- B->bv_page@p
+ bvec_page(B)
|
- B.bv_page@p
+ bvec_page(&B)
|
- B->bv_offset@p
+ bvec_offset(B)
|
- B.bv_offset@p
+ bvec_offset(&B)
)

// ---------------------------------------------------------------- report

@r depends on report disable ptr_to_array, fld_to_ptr@
expression B;
position p;
@@
(
 B->bv_page@p
|
 B.bv_page@p
|
 B->bv_offset@p
|
 B.bv_offset@p
)

@script:python depends on report@
p << r.p;
@@
coccilib.report.print_report(p[0], "WARNING: use the accessors of <linux/bvec.h> for struct bio_vec")
