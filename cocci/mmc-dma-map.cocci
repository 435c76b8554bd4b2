// SPDX-License-Identifier: GPL-2.0-only
///
/// Map the data of an mmc request by mmc_data_dma_map() and give the device the
/// DMA ranges that this makes, instead of a scatterlist.
///
//# A file is converted as a whole or not at all.  It is left alone if
//#  - a dmaengine takes the list, or the list is synchronized: these need a
//#    mapped scatterlist;
//#  - the direction is not known to be that of the flags of the data;
//#  - a DMA address or length is taken from anything but the first entry or
//#    the iterator of a loop over as many entries as were mapped.
//# What looks at the segments themselves stays: checks before mapping, and PIO.
///
// Confidence: High
// Options: --no-includes --include-headers
// Requires: 1.1.1
// Keywords: mmc_data, dma_map_sg, mmc_data_dma_map, dma_range

virtual patch
virtual report

// ------------------------------------------------- what can be converted

@needs_sg@
identifier fn =~ "^(dmaengine_prep_slave_sg|dma_sync_sg_for_cpu|dma_sync_sg_for_device|dma_map_sgtable)$";
@@
fn(...)

@map@
expression dev;
expression data;
position p;
@@
(
dma_map_sg@p(dev, data->sg, data->sg_len, mmc_get_dma_dir(data))
|
dma_map_sg@p(dev, data->sg, data->sg_len,
	     (data->flags & MMC_DATA_WRITE) ? DMA_TO_DEVICE : DMA_FROM_DEVICE)
|
dma_map_sg@p(dev, data->sg, data->sg_len,
	     ((data->flags & MMC_DATA_READ) ? DMA_FROM_DEVICE : DMA_TO_DEVICE))
)

@loop_all@
iterator name for_each_sg;
identifier it;
expression data, i;
position p;
@@
for_each_sg(data->sg, it, data->sg_len, i) {
<+...
(
sg_dma_address@p(it)
|
sg_dma_len@p(it)
)
...+>
}

@loop exists@
iterator name for_each_sg;
identifier it;
expression data, n, i;
position p != loop_all.p;
@@
struct scatterlist *it;
... when any
    when != it
for_each_sg(data->sg, it, n, i) {
<+...
(
sg_dma_address@p(it)
|
sg_dma_len@p(it)
)
...+>
}

@first@
identifier data =~ "^data$";
expression E;
position p;
@@
(
sg_dma_address@p(data->sg)
|
sg_dma_len@p(data->sg)
|
sg_dma_address@p(&data->sg[0])
|
sg_dma_len@p(&data->sg[0])
|
sg_dma_address@p(&E->data->sg[0])
|
sg_dma_len@p(&E->data->sg[0])
|
sg_dma_address@p(E->data->sg)
|
sg_dma_len@p(E->data->sg)
)

@bad_map@
expression list es;
position p != map.p;
@@
dma_map_sg@p(es)

@bad_use@
expression E;
position p != { loop.p, first.p };
@@
(
sg_dma_address@p(E)
|
sg_dma_len@p(E)
)

// ---------------------------------------------------------------- patch

@ok depends on map && !needs_sg && !bad_map && !bad_use@
position p;
@@
dma_map_sg@p(...)

@depends on patch && ok@
expression dev, data, dir;
@@
(
- dma_map_sg(dev, data->sg, data->sg_len, dir)
+ mmc_data_dma_map(dev, data)
|
- dma_unmap_sg(dev, data->sg, data->sg_len, dir)
+ mmc_data_dma_unmap(dev, data)
)

@depends on patch && ok@
expression data;
@@
(
- sg_dma_address(data->sg)
+ mmc_data_dma_addr(data)
|
- sg_dma_len(data->sg)
+ mmc_data_dma_len(data)
|
- sg_dma_address(&data->sg[0])
+ mmc_data_dma_addr(data)
|
- sg_dma_len(&data->sg[0])
+ mmc_data_dma_len(data)
)

@turn depends on patch && ok exists@
iterator name for_each_sg;
iterator name for_each_mmc_dma_range;
identifier it;
expression data, n, i;
@@
- struct scatterlist *it;
+ const struct dma_range *range;
... when any
    when != it
- for_each_sg(data->sg, it, n, i)
+ for_each_mmc_dma_range(data, range, n, i)
{
<+...
(
- sg_dma_address(it)
+ range->addr
|
- sg_dma_len(it)
+ range->len
)
...+>
}

@depends on patch && ok@
@@
+ #include <linux/mmc/dma.h>
  #include <linux/mmc/host.h>

@others@
identifier fn =~ "^(sg_.*|for_each_sg|flush_dcache_page)$";
@@
fn(...)

@others_type@
identifier x;
@@
(
struct scatterlist *x;
|
struct sg_mapping_iter x;
|
struct sg_mapping_iter *x;
|
struct scatterlist x;
)

@others_loop@
iterator name for_each_sg;
expression list es;
statement S;
@@
for_each_sg(es) S

@depends on patch && ok && !others && !others_type && !others_loop@
@@
- #include <linux/scatterlist.h>

// --------------------------------------------------------------- report

@script:python depends on report && ok@
p << ok.p;
@@
coccilib.report.print_report(p[0], "could be mapped by mmc_data_dma_map()")
