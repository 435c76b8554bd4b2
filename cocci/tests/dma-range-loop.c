#include "dma-range-loop.h"

static int plain(struct scsi_cmnd *cmd, int nseg)
{
	struct scatterlist *sg;
	int i;

	if (nseg < 0)
		return nseg;
	scsi_for_each_sg(cmd, sg, nseg, i) {
		put(sg_dma_address(sg), (u32)sg_dma_len(sg));
		if (sg_dma_len(sg) > 4)
			return -1;
	}
	return 0;
}

/* No braces, and the declaration in a block */
static unsigned int nested(struct scsi_cmnd *cmd, int nseg)
{
	unsigned int sum = 0;

	if (nseg) {
		struct scatterlist *entry;
		int i;

		scsi_for_each_sg(cmd, entry, nseg, i)
			sum += sg_dma_len(entry);
	}
	return sum;
}

static void ata(struct ata_queued_cmd *qc)
{
	struct scatterlist *sg;
	int si;

	for_each_sg(qc->sg, sg, qc->n_elem, si) {
		dma_addr_t addr = sg_dma_address(sg);

		put(addr, sg_dma_len(sg));
	}
}

/* The entry goes to a function: must not change. */
static void handed_on(struct scsi_cmnd *cmd, int nseg)
{
	struct scatterlist *sg;
	int i;

	scsi_for_each_sg(cmd, sg, nseg, i) {
		put(sg_dma_address(sg), sg_dma_len(sg));
		put_sg(sg);
	}
}

/* So does a member: must not change. */
static void cpu_side(struct scsi_cmnd *cmd, int nseg)
{
	struct scatterlist *sg;
	int i;

	scsi_for_each_sg(cmd, sg, nseg, i) {
		put(sg_dma_address(sg), sg->length);
	}
}

/* The first loop must not change, and so the second one cannot. */
static void mixed(struct scsi_cmnd *cmd, int nseg)
{
	struct scatterlist *sg;
	int i;

	scsi_for_each_sg(cmd, sg, nseg, i)
		put(0, sg->length);
	scsi_for_each_sg(cmd, sg, nseg, i)
		put(sg_dma_address(sg), sg_dma_len(sg));
}

/* The iterator is set before or used after: must not change. */
static void outside(struct scsi_cmnd *cmd, int nseg)
{
	struct scatterlist *sg;
	int i;

	sg = cmd->sg;
	put(sg_dma_address(sg), sg_dma_len(sg));
	scsi_for_each_sg(cmd, sg, nseg, i) {
		put(sg_dma_address(sg), sg_dma_len(sg));
	}
}

/* Not the list of a command: must not change. */
static void other_list(struct scatterlist *list, int nseg)
{
	struct scatterlist *sg;
	int i;

	for_each_sg(list, sg, nseg, i) {
		put(sg_dma_address(sg), sg_dma_len(sg));
	}
}
