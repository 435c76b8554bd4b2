/* Just enough for the two files to compile */
typedef unsigned long long dma_addr_t;
typedef unsigned long size_t;
typedef unsigned int u32;
struct scatterlist { unsigned int offset, length; };
struct dma_range { dma_addr_t addr; size_t len; };
struct scsi_cmnd { struct scatterlist *sg; };
struct ata_queued_cmd { struct scatterlist *sg; int n_elem; };
struct scatterlist *sg_next(struct scatterlist *sg);
dma_addr_t sg_dma_address(struct scatterlist *sg);
unsigned int sg_dma_len(struct scatterlist *sg);
#define for_each_sg(list, it, n, i) \
	for (i = 0, it = (list); i < (n); i++, it = sg_next(it))
#define scsi_for_each_sg(cmd, it, n, i) for_each_sg((cmd)->sg, it, n, i)
#define ata_for_each_dma_range(qc, range, i) \
	for (i = 0; i < (qc)->n_elem && (range.len = 1); i++)
#define scsi_for_each_dma_range(cmd, range, n, i) \
	for (i = 0; i < (n) && (range.len = 1); i++)
void put(dma_addr_t addr, size_t len);
void put_sg(struct scatterlist *sg);
