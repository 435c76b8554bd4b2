#include "mmc-dma-map.h"

/* As many as there were before mapping: there may be fewer DMA ranges. */
static void prepare(struct host *host, struct mmc_data *data)
{
	struct scatterlist *sg;
	int i;

	dma_map_sg(host->dev, data->sg, data->sg_len, mmc_get_dma_dir(data));
	for_each_sg(data->sg, sg, data->sg_len, i) {
		put(host, sg_dma_address(sg), sg_dma_len(sg));
	}
}
