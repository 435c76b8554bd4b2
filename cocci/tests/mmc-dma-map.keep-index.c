#include "mmc-dma-map.h"

/* By index: nothing says that there are as many. */
static void prepare(struct host *host, struct mmc_data *data)
{
	u32 i;

	dma_map_sg(host->dev, data->sg, data->sg_len, mmc_get_dma_dir(data));
	for (i = 0; i < data->sg_len; i++)
		put(host, sg_dma_address(&data->sg[i]), data->sg[i].length);
}
