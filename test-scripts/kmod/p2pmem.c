// SPDX-License-Identifier: GPL-2.0
/*
 * Gives the second BAR of an ivshmem device to whoever wants peer-to-peer memory:
 * programs by /sys/bus/pci/devices/.../p2pmem/allocate.
 */
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>

static int p2pmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = pcim_enable_device(pdev);

	if (ret)
		return ret;
	ret = pci_p2pdma_add_resource(pdev, 2, 0, 0);
	if (ret)
		return ret;
	pci_p2pmem_publish(pdev, true);
	return 0;
}

static const struct pci_device_id p2pmem_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) },
	{ }
};

static struct pci_driver p2pmem_driver = {
	.name = "p2pmem",
	.id_table = p2pmem_ids,
	.probe = p2pmem_probe,
};
module_pci_driver(p2pmem_driver);

MODULE_DESCRIPTION("The BAR of an ivshmem device as peer-to-peer memory");
MODULE_LICENSE("GPL");
