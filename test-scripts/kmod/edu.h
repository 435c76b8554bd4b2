/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's edu device, for the one module that is loaded: whatever it is to be
 * used for needs the bus master, 64-bit addresses and segments of any length.
 * And, where the machine has one, an ivshmem device, whose second BAR is
 * peer-to-peer memory without struct page.
 */
#include <linux/dma-mapping.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

static struct pci_dev *edu, *shm;
static struct p2pdma_provider *shm_provider;

static int edu_probe_shm(struct pci_dev *pdev)
{
	int ret;

	if (shm)
		return -EBUSY;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_p2pdma_init(pdev);
	if (ret)
		return ret;
	shm_provider = pcim_p2pdma_provider(pdev, 2);
	if (!shm_provider)
		return -ENOMEM;
	shm = pdev;
	return 0;
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (id->driver_data)
		return edu_probe_shm(pdev);
	if (edu)
		return -EBUSY;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_set_master(pdev);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);
	edu = pdev;
	return 0;
}

static void edu_remove(struct pci_dev *pdev)
{
	if (pdev == edu)
		edu = NULL;
	if (pdev == shm) {
		shm = NULL;
		shm_provider = NULL;
	}
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8), .driver_data = 0 },	/* edu */
	{ PCI_DEVICE(0x1af4, 0x1110), .driver_data = 1 },	/* ivshmem */
	{ }
};

static struct pci_driver edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
};
