/* Just enough for the two files to compile */
typedef unsigned long long dma_addr_t;
typedef unsigned long size_t;
typedef unsigned int u32;
struct device;
struct scatterlist { unsigned int offset, length; };
struct sg_mapping_iter { void *addr; };
struct dma_range { dma_addr_t addr; size_t len; };
struct mmc_data {
	unsigned int flags, sg_len;
	int sg_count;
	struct scatterlist *sg;
	struct dma_range *dma;
};
struct mmc_command { struct mmc_data *data; };
struct host { struct device *dev; struct mmc_data *data; struct scatterlist *sg; };
enum dir { DMA_TO_DEVICE, DMA_FROM_DEVICE };
#define MMC_DATA_WRITE 256
#define MMC_DATA_READ 512
enum dir mmc_get_dma_dir(struct mmc_data *data);
int dma_map_sg(struct device *dev, struct scatterlist *sg, int n, enum dir dir);
void dma_unmap_sg(struct device *dev, struct scatterlist *sg, int n, enum dir dir);
unsigned int mmc_data_dma_map(struct device *dev, struct mmc_data *data);
void mmc_data_dma_unmap(struct device *dev, struct mmc_data *data);
dma_addr_t mmc_data_dma_addr(struct mmc_data *data);
size_t mmc_data_dma_len(struct mmc_data *data);
struct scatterlist *sg_next(struct scatterlist *sg);
dma_addr_t sg_dma_address(struct scatterlist *sg);
unsigned int sg_dma_len(struct scatterlist *sg);
#define for_each_sg(list, sg, n, i) \
	for (i = 0, sg = (list); i < (n); i++, sg = sg_next(sg))
#define for_each_mmc_dma_range(data, range, n, i) \
	for (i = 0, range = (data)->dma; i < (n); i++, range++)
void put(struct host *host, dma_addr_t addr, size_t len);
