// SPDX-License-Identifier: GPL-2.0-only
/// Every call of a function that takes, makes or walks a scatterlist.
// Options: --no-includes --include-headers

virtual report

@call@
identifier fn =~ "^(dma_(un)?map_sg(_attrs|table)?|dma_sync_sg(table)?_for_(cpu|device)|ib_dma_(un)?map_sg(_attrs|table_attrs)?|ib_map_mr_sg.*|sg_dma_(address|len)|sg_(page|virt|phys|next|last|nents.*|set_page|set_buf|set_folio|init_.*|alloc_.*|free_.*|miter_.*|p?copy_.*|zero_buffer|chain|mark_end|map_phyrs)|__sg_.*|scsi_(sglist|sg_count|dma_(un)?map)|blk_rq_map_.*sg.*|skb_to_sgvec.*|virtqueue_add_(sgs|inbuf.*|outbuf.*)|(skcipher|aead|ahash|akcipher|acomp)_request_set_crypt|scatterwalk_.*|dmaengine_prep_(slave|dma_cyclic)_sg|dmaengine_prep_slave_sg|mmc_data_dma_(un)?map|drm_prime_.*sg.*|dma_buf_(un)?map_attachment.*|sgl_alloc.*|sgl_free.*|usb_sg_.*|iommu_map_sg.*)$";
position p;
@@
fn@p(...)

@script:python@
fn << call.fn;
p << call.p;
@@
print("%s\t%s" % (p[0].file, fn))

@loop@
iterator name for_each_sg, for_each_sgtable_sg, for_each_sgtable_dma_sg, for_each_sg_page, for_each_sg_dma_page, for_each_sgtable_page, for_each_sgtable_dma_page, scsi_for_each_sg, scsi_for_each_dma_range, ata_for_each_dma_range, for_each_mmc_dma_range;
expression list es;
statement S;
position p;
@@
(
for_each_sg@p(es) S
|
for_each_sgtable_sg@p(es) S
|
for_each_sgtable_dma_sg@p(es) S
|
for_each_sg_page@p(es) S
|
for_each_sg_dma_page@p(es) S
|
for_each_sgtable_page@p(es) S
|
for_each_sgtable_dma_page@p(es) S
|
scsi_for_each_sg@p(es) S
)

@script:python@
p << loop.p;
@@
print("%s\t%s" % (p[0].file, "for_each"))

@range@
iterator name scsi_for_each_dma_range, ata_for_each_dma_range, for_each_mmc_dma_range;
expression list es;
statement S;
position p;
@@
(
scsi_for_each_dma_range@p(es) S
|
ata_for_each_dma_range@p(es) S
|
for_each_mmc_dma_range@p(es) S
)

@script:python@
p << range.p;
@@
print("%s\t%s" % (p[0].file, "dma_range_loop"))
