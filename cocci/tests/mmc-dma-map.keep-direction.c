#include "mmc-dma-map.h"

/* A direction that is not known to be that of the data */
static void prepare(struct host *host, struct mmc_data *data, enum dir dir)
{
	dma_map_sg(host->dev, data->sg, data->sg_len, dir);
	put(host, sg_dma_address(data->sg), sg_dma_len(data->sg));
}
