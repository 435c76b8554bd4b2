// SPDX-License-Identifier: GPL-2.0
/* For patch/coccicheck: scatterlist.cocci reports the lines that say so, and no other. */
int single(struct device *dev, void *p)
{
	struct scatterlist sg;

	sg_init_one(&sg, p, 512);
	return dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE); /* reported */
}

int single_attrs(struct device *dev, void *p)
{
	struct scatterlist sg;

	sg_init_one(&sg, p, 512);
	return dma_map_sg_attrs(dev, &sg, 1, DMA_TO_DEVICE, 0); /* reported */
}

int engine(struct device *dev, struct dma_chan *chan, void *p)
{
	struct scatterlist sg;

	sg_init_one(&sg, p, 512);
	dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE);
	use(dmaengine_prep_slave_sg(chan, &sg, 1, DMA_MEM_TO_DEV, 0));
}

int engine_attrs(struct device *dev, struct dma_chan *chan, void *p)
{
	struct scatterlist sg;

	sg_init_one(&sg, p, 512);
	dma_map_sg_attrs(dev, &sg, 1, DMA_TO_DEVICE, 0);
	use(chan->device->device_prep_slave_sg(chan, &sg, 1, DMA_MEM_TO_DEV, 0));
}

int table(struct device *dev, struct page **pages, struct sg_table *t)
{
	struct scatterlist *sg;
	int i;

	sg_alloc_table_from_pages(t, pages, 1, 0, 4096, GFP_KERNEL);
	dma_map_sgtable(dev, t, DMA_TO_DEVICE, 0); /* reported */
	for_each_sgtable_dma_sg(t, sg, i)
		tell(sg_dma_address(sg));
}

void loop(struct scsi_cmnd *cmd, int n)
{
	struct scatterlist *sg;
	int i;

	scsi_for_each_sg(cmd, sg, n, i) { /* reported */
		tell(sg_dma_address(sg), sg_dma_len(sg));
	}
}

void ata_loop(struct ata_queued_cmd *qc)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(qc->sg, sg, qc->n_elem, i) { /* reported */
		tell(sg_dma_address(sg), sg_dma_len(sg));
	}
}

void more(struct scsi_cmnd *cmd, int n)
{
	struct scatterlist *sg;
	int i;

	scsi_for_each_sg(cmd, sg, n, i) {
		fill(sg, sg_dma_address(sg));
	}
}

void last(struct ata_queued_cmd *qc)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(qc->sg, sg, qc->n_elem, i) {
		tell(sg_dma_address(sg), sg_next(sg) != NULL);
	}
}
