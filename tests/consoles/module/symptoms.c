// SPDX-License-Identifier: GPL-2.0-only
/*
 * Causes, on request, what the corpus of consoles is to show: echo NAME >/proc/symptoms.
 *
 * For kernels that have no LKDTM (Debian's), and for what LKDTM does not do. Each symptom is a function of
 * its own, named symptom_NAME, so that it is known beforehand what a report must name.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nmi.h>
#include <linux/proc_fs.h>
#include <linux/refcount.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#define WILD 0xffffc000dead0000UL /* in the range of the direct map, beyond any memory */

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static DECLARE_COMPLETION(never);
static DEFINE_SEMAPHORE(held); /* who waits for a mutex may spin on the task that died with it */

static noinline void symptom_null(void) { *(volatile int *)0x18 = 1; }
static noinline void symptom_wild(void) { *(volatile int *)WILD = 1; }
static noinline void symptom_gpf(void) { *(volatile int *)0xdead000000000100UL = 1; }
static noinline void symptom_bug(void) { BUG(); }
static noinline void symptom_warn(void) { WARN(1, "symptoms: a warning was asked for\n"); }
static noinline void symptom_warn_on(void) { WARN_ON(1); }
static noinline void symptom_panic(void) { panic("symptoms: a panic was asked for"); }

static noinline void symptom_divide(void)
{
	asm volatile("xor %%edx, %%edx\n\tmov $1, %%eax\n\txor %%ecx, %%ecx\n\tdiv %%ecx" ::: "eax", "ecx", "edx");
}

static noinline void symptom_opcode(void) { asm volatile("ud1 %%ecx, %%eax" ::); }

static noinline int symptom_stack(int depth)
{
	volatile char frame[512];

	frame[depth % 512] = depth;
	return frame[0] + symptom_stack(depth + 1) + frame[511];
}

static noinline void symptom_double_fault(void)
{
	asm volatile("mov %0, %%rsp\n\tpush %%rax" :: "r"(WILD) : "memory");
}

static noinline void symptom_soft(void)
{
	preempt_disable();
	for (;;)
		cpu_relax();
}

static noinline void symptom_hard(void)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

static noinline void symptom_spin(void)
{
	spin_lock(&spin);
	spin_lock(&spin);
}

static noinline void symptom_rcu(void)
{
	rcu_read_lock();
	for (;;) {
		touch_softlockup_watchdog();
		mdelay(1);
	}
}

/* barrier() after a call keeps it from being the last thing done: a tail call leaves no frame. */
static noinline void symptom_hung(void)
{
	wait_for_completion(&never);
	barrier();
}

static noinline int symptom_abba_one(void *unused)
{
	mutex_lock(&first);
	msleep(200);
	mutex_lock(&second);
	return 0;
}

static noinline int symptom_abba_two(void *unused)
{
	mutex_lock(&second);
	msleep(200);
	mutex_lock(&first);
	return 0;
}

static void symptom_abba(void)
{
	kthread_run(symptom_abba_one, NULL, "abba-one");
	kthread_run(symptom_abba_two, NULL, "abba-two");
}

static noinline void symptom_hold(void)
{
	down(&held);
	symptom_null();
}

static noinline void symptom_take(void)
{
	down(&held);
	barrier();
}

static noinline void symptom_work_spins(struct work_struct *work)
{
	for (;;) {
		cond_resched();
		cpu_relax();
	}
}

static void symptom_work_waits(struct work_struct *work) {}
static noinline void symptom_work_oopses(struct work_struct *work) { *(volatile int *)0x28 = 1; }
static DECLARE_WORK(spins, symptom_work_spins);
static DECLARE_WORK(waits, symptom_work_waits);
static DECLARE_WORK(oopses, symptom_work_oopses);

static void symptom_wq(void)
{
	schedule_work_on(0, &spins);
	msleep(50);
	schedule_work_on(0, &waits);
}

static void symptom_worker_oops(void) { schedule_work(&oopses); }

static noinline void symptom_timer_fires(struct timer_list *unused) { *(volatile int *)0x38 = 1; }
static DEFINE_TIMER(timer, symptom_timer_fires);
static void symptom_irq_oops(void) { mod_timer(&timer, jiffies + HZ / 10); }

static noinline void symptom_alloc(void)
{
	struct page *page, *all = NULL;

	while ((page = alloc_pages(GFP_ATOMIC, 0))) {
		page->private = (unsigned long)all;
		all = page;
	}
	while (all) {
		page = all;
		all = (struct page *)page->private;
		page->private = 0;
		__free_pages(page, 0);
	}
}

static noinline void symptom_alloc_order(void)
{
	struct page *page, *all = NULL;

	while ((page = alloc_pages(GFP_KERNEL, 9))) {
		page->private = (unsigned long)all;
		all = page;
	}
	while (all) {
		page = all;
		all = (struct page *)page->private;
		page->private = 0;
		__free_pages(page, 9);
	}
}

static noinline void symptom_slab(void)
{
	void **object, **all = NULL;

	while ((object = kmalloc(512, GFP_ATOMIC))) {
		*object = all;
		all = object;
	}
	while (all) {
		object = all;
		all = *object;
		kfree(object);
	}
}

static noinline void symptom_vmalloc(void) { vfree(vmalloc(1UL << 40)); }

static noinline void symptom_list(void)
{
	LIST_HEAD(head);
	struct list_head good, bad;

	list_add(&good, &head);
	head.next = &bad; /* and bad.prev is whatever the stack had */
	bad.prev = &bad;
	list_add(&bad, &head);
}

static noinline void symptom_refcount(void)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static noinline void symptom_atomic(void)
{
	local_bh_disable();
	msleep(10);
	local_bh_enable();
}

static noinline void symptom_sleep(void)
{
	spin_lock(&spin);
	might_sleep();
	spin_unlock(&spin);
}

static noinline void symptom_bad_page(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 5);

	page->mapping = (void *)0x100;
	__free_pages(page, 5);
}

static noinline void symptom_redzone(void)
{
	volatile char *object = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	object[64] = 1;
	kfree((void *)object);
}

static noinline void symptom_use_after_free(void)
{
	volatile char *object = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(object);
	kfree((void *)object);
	object[8] = 1;
}

static noinline void symptom_usercopy(const char __user *to)
{
	char *object = kmalloc(64, GFP_KERNEL);
	unsigned long size = 128;

	OPTIMIZER_HIDE_VAR(object);
	OPTIMIZER_HIDE_VAR(size);
	if (copy_to_user((void __user *)to, object, size))
		pr_info("symptoms: nothing was copied\n");
	kfree(object);
}

static const struct symptom {
	const char *name;
	void (*cause)(void);
} symptoms[] = {
	{ "null", symptom_null }, { "wild", symptom_wild }, { "gpf", symptom_gpf }, { "bug", symptom_bug },
	{ "warn", symptom_warn }, { "warn_on", symptom_warn_on }, { "panic", symptom_panic },
	{ "divide", symptom_divide }, { "opcode", symptom_opcode }, { "double_fault", symptom_double_fault },
	{ "soft", symptom_soft }, { "hard", symptom_hard }, { "spin", symptom_spin }, { "rcu", symptom_rcu },
	{ "hung", symptom_hung }, { "abba", symptom_abba }, { "hold", symptom_hold }, { "take", symptom_take },
	{ "wq", symptom_wq }, { "worker_oops", symptom_worker_oops }, { "irq_oops", symptom_irq_oops },
	{ "alloc", symptom_alloc }, { "alloc_order", symptom_alloc_order }, { "slab", symptom_slab },
	{ "vmalloc", symptom_vmalloc }, { "list", symptom_list }, { "refcount", symptom_refcount },
	{ "atomic", symptom_atomic }, { "sleep", symptom_sleep }, { "bad_page", symptom_bad_page },
	{ "redzone", symptom_redzone }, { "use_after_free", symptom_use_after_free },
};

static ssize_t asked(struct file *file, const char __user *buffer, size_t size, loff_t *at)
{
	char name[32] = "";
	int number;

	if (size >= sizeof(name) || copy_from_user(name, buffer, size))
		return -EINVAL;
	strim(name);
	if (!strcmp(name, "stack"))
		symptom_stack(0);
	if (!strcmp(name, "usercopy"))
		symptom_usercopy(buffer);
	for (number = 0; number < ARRAY_SIZE(symptoms); number++)
		if (!strcmp(name, symptoms[number].name))
			symptoms[number].cause();
	return size;
}

static const struct proc_ops ops = { .proc_write = asked };

static int __init begin(void) { return proc_create("symptoms", 0200, NULL, &ops) ? 0 : -ENOMEM; }

module_init(begin);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Causes kernel reports on request, for the corpus of consoles");
