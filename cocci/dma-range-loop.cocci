// SPDX-License-Identifier: GPL-2.0-only
///
/// Go over the DMA ranges of a mapped SCSI or ATA command, instead of over the
/// scatterlist that they are kept in.
///
//# For loops that take DMA addresses and lengths, and nothing else, from the
//# entries.  Not converted: a function that uses the iterator for anything else.
//# What is missed of that does not compile, as there is no iterator any more.
///
// Confidence: High
// Options: --no-includes --include-headers
// Requires: 1.1.1
// Keywords: scsi_for_each_sg, scsi_for_each_dma_range, ata_for_each_dma_range, dma_range

virtual patch
virtual report

// What else an iterator is used for in such a loop

@other@
iterator name for_each_sg, scsi_for_each_sg;
identifier sg, fn !~ "^sg_dma_(address|len)$";
identifier m;
expression cmd, n, i;
position p;
@@
(
scsi_for_each_sg@p(cmd, sg, n, i) {
<+...
(
fn(..., sg, ...)
|
sg->m
)
...+>
}
|
for_each_sg@p(cmd, sg, n, i) {
<+...
(
fn(..., sg, ...)
|
sg->m
)
...+>
}
)

@assigned exists@
identifier sg;
expression e;
position q;
@@
struct scatterlist *sg@q;
... when any
sg = e

@mixed exists@
iterator name for_each_sg, scsi_for_each_sg;
identifier sg;
expression cmd, n, i;
statement S;
position q, other.p;
@@
struct scatterlist *sg@q;
... when any
(
scsi_for_each_sg@p(cmd, sg, n, i) S
|
for_each_sg@p(cmd, sg, n, i) S
)

@loop exists@
iterator name for_each_sg, scsi_for_each_sg;
identifier sg;
expression cmd, qc, n, i;
position p != other.p;
position q != { assigned.q, mixed.q };
@@
struct scatterlist *sg@q;
... when any
    when != sg
(
scsi_for_each_sg@p(cmd, sg, n, i) {
<+...
(
sg_dma_address(sg)
|
sg_dma_len(sg)
)
...+>
}
|
for_each_sg@p(qc->sg, sg, qc->n_elem, i) {
<+...
(
sg_dma_address(sg)
|
sg_dma_len(sg)
)
...+>
}
)

@depends on patch exists@
iterator name for_each_sg, scsi_for_each_sg, scsi_for_each_dma_range, ata_for_each_dma_range;
identifier sg;
type T;
expression cmd, qc, n, i;
position loop.p, loop.q;
@@
- struct scatterlist *sg@q;
+ struct dma_range range;
... when any
    when != sg
(
- scsi_for_each_sg@p(cmd, sg, n, i)
+ scsi_for_each_dma_range(cmd, range, n, i)
{
<+...
(
- (T)sg_dma_address(sg)
+ (T)range.addr
|
- (T)sg_dma_len(sg)
+ (T)range.len
|
- sg_dma_address(sg)
+ range.addr
|
- sg_dma_len(sg)
+ range.len
)
...+>
}
|
- for_each_sg@p(qc->sg, sg, qc->n_elem, i)
+ ata_for_each_dma_range(qc, range, i)
{
<+...
(
- (T)sg_dma_address(sg)
+ (T)range.addr
|
- (T)sg_dma_len(sg)
+ (T)range.len
|
- sg_dma_address(sg)
+ range.addr
|
- sg_dma_len(sg)
+ range.len
)
...+>
}
)

@script:python depends on report@
p << loop.p;
@@
coccilib.report.print_report(p[0], "could go over DMA ranges")
