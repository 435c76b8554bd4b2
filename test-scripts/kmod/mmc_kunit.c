// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of data that is mapped for an SDIO card, which QEMU has none of: a
 * host that maps, before the request or in it, and does nothing else.
 */
#include <kunit/test.h>
#include <linux/dma-mapping.h>
#include <linux/mmc/card.h>
#include <linux/mmc/core.h>
#include <linux/mmc/dma.h>
#include <linux/mmc/host.h>
#include <linux/mmc/sdio_func.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>

#define COOKIE_PRE_MAPPED	1

struct fake_host {
	struct kunit *test;
	unsigned int maps, unmaps, requests, ranges;
};

static void fake_map(struct mmc_host *mmc, struct mmc_data *data)
{
	struct fake_host *fake = mmc_priv(mmc);

	KUNIT_EXPECT_GT(fake->test, mmc_data_dma_map(mmc_dev(mmc), data), 0);
	fake->maps++;
}

static void fake_unmap(struct mmc_host *mmc, struct mmc_data *data)
{
	struct fake_host *fake = mmc_priv(mmc);

	mmc_data_dma_unmap(mmc_dev(mmc), data);
	fake->unmaps++;
}

static void fake_pre_req(struct mmc_host *mmc, struct mmc_request *mrq)
{
	fake_map(mmc, mrq->data);
	mrq->data->host_cookie = COOKIE_PRE_MAPPED;
}

static void fake_post_req(struct mmc_host *mmc, struct mmc_request *mrq, int err)
{
	struct fake_host *fake = mmc_priv(mmc);

	/* What a host goes by must still be there */
	KUNIT_ASSERT_NOT_NULL(fake->test, mrq->data->dma);
	fake_unmap(mmc, mrq->data);
	mrq->data->host_cookie = 0;
}

static void fake_request(struct mmc_host *mmc, struct mmc_request *mrq)
{
	struct fake_host *fake = mmc_priv(mmc);
	struct mmc_data *data = mrq->data;
	const struct dma_range *range;
	size_t len = 0;
	int i;

	if (data->host_cookie != COOKIE_PRE_MAPPED)
		fake_map(mmc, data);
	for_each_mmc_dma_range(data, range, data->dma_nr, i)
		len += range->len;
	KUNIT_EXPECT_EQ(fake->test, len, (size_t)data->blocks * data->blksz);
	fake->ranges += data->dma_nr;
	fake->requests++;
	if (data->host_cookie != COOKIE_PRE_MAPPED)
		fake_unmap(mmc, data);
	mmc_request_done(mmc, mrq);
}

static const struct mmc_host_ops mapped_before = {
	.pre_req = fake_pre_req,
	.post_req = fake_post_req,
	.request = fake_request,
};

static const struct mmc_host_ops mapped_in_request = {
	.request = fake_request,
};

static void transfers(struct kunit *test, const struct mmc_host_ops *ops)
{
	struct platform_device_info info = {
		.name = "mmc_kunit",
		.id = PLATFORM_DEVID_NONE,
		.dma_mask = DMA_BIT_MASK(64),
	};
	struct platform_device *pdev = platform_device_register_full(&info);
	static const unsigned int sizes[] = { 4, 512, SZ_4K, SZ_64K };
	struct mmc_host *mmc;
	struct fake_host *fake;
	struct sdio_func *func;
	struct mmc_card *card;
	void *buf;
	int i;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pdev);
	mmc = mmc_alloc_host(sizeof(*fake), &pdev->dev);
	card = kunit_kzalloc(test, sizeof(*card), GFP_KERNEL);
	func = kunit_kzalloc(test, sizeof(*func), GFP_KERNEL);
	buf = kunit_kzalloc(test, SZ_64K, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, mmc && card && func && buf);
	fake = mmc_priv(mmc);
	fake->test = test;
	mmc->ops = ops;
	mmc->max_seg_size = SZ_16K;
	mmc->max_segs = 128;
	mmc->max_req_size = SZ_64K;
	mmc->max_blk_count = 128;
	mmc->max_blk_size = 512;
	card->host = mmc;
	card->type = MMC_TYPE_SDIO;
	card->cccr.multi_block = 1;
	func->card = card;
	func->num = 1;
	func->cur_blksize = 512;
	func->max_blksize = 512;

	sdio_claim_host(func);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		KUNIT_EXPECT_EQ(test, 0, sdio_memcpy_toio(func, 0, buf, sizes[i]));
		KUNIT_EXPECT_EQ(test, 0, sdio_memcpy_fromio(func, buf, 0, sizes[i]));
	}
	sdio_release_host(func);
	kunit_info(test, "%u requests, %u DMA ranges\n", fake->requests, fake->ranges);
	KUNIT_EXPECT_GE(test, fake->requests, 8);
	KUNIT_EXPECT_GT(test, fake->ranges, fake->requests);
	KUNIT_EXPECT_EQ(test, fake->maps, fake->requests);
	KUNIT_EXPECT_EQ(test, fake->unmaps, fake->maps);
	mmc_free_host(mmc);
	platform_device_unregister(pdev);
}

static void sdio_mapped_before(struct kunit *test)
{
	transfers(test, &mapped_before);
}

static void sdio_mapped_in_request(struct kunit *test)
{
	transfers(test, &mapped_in_request);
}

static struct kunit_case mmc_cases[] = {
	KUNIT_CASE(sdio_mapped_before),
	KUNIT_CASE(sdio_mapped_in_request),
	{ }
};

static struct kunit_suite mmc_suite = {
	.name = "mmc_data_dma",
	.test_cases = mmc_cases,
};
kunit_test_suite(mmc_suite);

MODULE_DESCRIPTION("KUnit tests of mapping the data of SDIO requests");
MODULE_LICENSE("GPL");
