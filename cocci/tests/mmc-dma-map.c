#include "mmc-dma-map.h"

/* The loop over what was mapped, after a return */
static int loop(struct host *host, struct mmc_data *data)
{
	struct scatterlist *sg;
	int i, n;

	n = dma_map_sg(host->dev, data->sg, data->sg_len,
		       mmc_get_dma_dir(data));
	if (!n)
		return -1;

	for_each_sg(data->sg, sg, n, i) {
		dma_addr_t addr = sg_dma_address(sg);

		if (i + 1 == n)
			put(host, addr + 1, sg_dma_len(sg) - 1);
		else
			put(host, addr, sg_dma_len(sg));
	}
	return 0;
}

/* The number of entries is kept in the data. */
static void count(struct host *host, struct mmc_data *data)
{
	struct scatterlist *sg;
	int i;

	data->sg_count = dma_map_sg(host->dev, data->sg, data->sg_len,
				    (data->flags & MMC_DATA_WRITE) ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
	for_each_sg(data->sg, sg, data->sg_count, i) {
		put(host, sg_dma_address(sg), sg_dma_len(sg));
	}
}

/* One address */
static void single(struct host *host, struct mmc_command *cmd)
{
	put(host, sg_dma_address(cmd->data->sg), sg_dma_len(cmd->data->sg));
	put(host, sg_dma_address(&cmd->data->sg[0]), 1);
	dma_unmap_sg(host->dev, cmd->data->sg, cmd->data->sg_len,
		     mmc_get_dma_dir(cmd->data));
}

/* Checks look at the segments: they must not change. */
static int aligned(struct mmc_data *data)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(data->sg, sg, data->sg_len, i) {
		if (sg->offset & 3 || sg->length & 3)
			return 0;
	}
	return 1;
}
