#include "mmc-dma-map.h"

/* A dmaengine takes the list: it has to be mapped. */
void *dmaengine_prep_slave_sg(struct scatterlist *sg, int n);

static void *prepare(struct host *host, struct mmc_data *data)
{
	int n = dma_map_sg(host->dev, data->sg, data->sg_len,
			   mmc_get_dma_dir(data));

	return dmaengine_prep_slave_sg(data->sg, n);
}
