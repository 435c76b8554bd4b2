#include "mmc-dma-map.h"

/* An iterator that outlives the function */
static void prepare(struct host *host, struct mmc_data *data)
{
	dma_map_sg(host->dev, data->sg, data->sg_len, mmc_get_dma_dir(data));
	host->sg = data->sg;
}

static void next(struct host *host)
{
	put(host, sg_dma_address(host->sg), sg_dma_len(host->sg));
	host->sg = sg_next(host->sg);
}
