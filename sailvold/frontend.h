/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * frontend: what the operations of a mount share: what the mount is, questions
 * to manifest and cache, node ids and the things that they stand for.  In fuse.
 */
#ifndef SAILVOLD_FRONTEND_H
#define SAILVOLD_FRONTEND_H

#include <sys/stat.h>

#include "sailvold/handle.h"
#include "sailvold/idmap.h"
#include "sailvold/inode.h"
#include "sailvold/request.h"
#include "sailvold/view.h"

/* ---- the mount (fuse.c) */
int frontend_readonly(void);
/* Every id of a file that comes from the kernel or goes there is through it:
   what is in memory, in the journal and in messages are the volume's. */
const struct idmap *frontend_ids(void);
int frontend_without_opendir(void); /* the kernel knows what ENOSYS means */
/* What START said; strings. */
const struct start *frontend_start(void);
/* 1: the names in the inode table are of the base before: SWITCH comes. */
int frontend_behind(void);
uint64_t frontend_applied(void);
struct chan *frontend_manifest(void); /* NULL until it said START */
struct chan *frontend_cache(void);
extern const struct fuse_lowlevel_ops frontend_ops;

/* ---- questions to manifest (query.c); each returns E_WAIT or an errno */
int query_load(struct vn *dir, const void *first, size_t len);
int query_object(uint64_t ovl);
int query_asks(uint64_t ovl); /* 1: that was asked, and is not answered */
/* The thing that is in a commit at a path, for a detached slot. */
int query_detached(uint32_t slot);
/* Chunk list of a file, a tree: into fetch. */
uint32_t query_chunks(struct vn *);
void query_resend(void); /* manifest is there again */
/* Answers of before a reload are of no use: all is asked anew. */
void query_forget_all(void);
/* Changes up to here are in every answer that is still to come. */
uint64_t query_safe(void);
/* A name of a directory: 0 and the thing (NULL: not there), or E_WAIT... */
int query_name(struct vn *dir, const char *name, size_t len, struct vn **);
int query_rules_load(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int query_rules_object(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int query_rules_chunks(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* ---- nodes (node.c) */
/* The thing of a node id: 0, E_WAIT, ESTALE... */
int node_get(fuse_ino_t, struct vn **);
int node_get_slot(uint32_t idx, struct vn **);
/* The same, and ENOTDIR when it is not one. */
int node_dir(fuse_ino_t, struct vn **);
/* 0, or ENAMETOOLONG: with a name of that length in it the path would be longer
   or deeper than a commit can have it. */
int node_path_error(const struct vn *dir, size_t len);
/* The slot of a thing, made when there is none; 0 and errno. */
uint32_t node_slot(struct vn *);
/* The slot of a thing that was found by its name is bound to it, if the kernel
   has one.  Before the name goes or another gets it. */
void node_known(struct vn *);
/* 0 or an errno. */
int node_stat(struct vn *, struct stat *);
/* Answers a look-up of the thing; the kernel has it one time more then. */
void node_reply(fuse_req_t, struct vn *);
int node_entry(struct vn *, struct fuse_entry_param *);
void node_forget(fuse_ino_t, uint64_t n);
void node_unref(struct vn *); /* an entry that the kernel did not take */
/* Its last name went: it lives on for who has it open. */
void node_lost_name(struct vn *);
void node_drop_if_unused(struct vn *);
/* size and times of a file whose overlay file is being written; 0 or an errno:
   they are not known. */
int node_refresh(struct vn *);

/* ---- writers (writer.c) */
/* Somebody may write from now on: RECORD_DIRTY; 0 or an errno. */
int writer_begin(struct vn *);
/* The last one went: RECORD_SETTLE. */
void writer_end(struct vn *);
int writer_settle(struct vn *);
void writer_settle_all(void);
/* One that may not be in memory, if it has no writer any more.  What was known of
   it, size and times, is in the entry, and becomes what is. */
int writer_settle_closed(uint64_t ovl, struct entry *);
/* Nobody has it open, and a mapping of it lives: size and times are those that
   the overlay file has now, and what was written since is a change. */
void writer_mapped(uint64_t ovl);
/*
 * st is that of an overlay file: 1 when it was written to since size and times of
 * the entry were true, which they become.  A write moves mtime; ctime of the
 * overlay file alone moves also by what is our own work (making it local, setting
 * its times), and does not count.  What the kernel has written behind the largest
 * size is not there for us.
 */
int writer_look(uint64_t ovl, struct entry *, const struct stat *st);
/* Takes the bits of set ids away that the request's caller may not leave there;
   what stays of such a mode. */
int writer_kill_priv(struct vn *);
uint16_t writer_without_priv(const struct vn *, uint16_t mode);

/* ---- .sailvol (fuse_ctl.c) */
int door_lookup(fuse_req_t, const char *name, fuse_ino_t parent); /* 1: done */
int door_is(fuse_ino_t);
int door_getattr(fuse_req_t, fuse_ino_t);
int door_name(const char *name); /* reserved */
void door_open(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void door_read(fuse_req_t, struct handle *, size_t, off_t);
void door_write(fuse_req_t, struct handle *, const char *, size_t, off_t);
void door_release(struct handle *);
void door_resend(void);
void door_begin(int takeover);
/* A segment of the journal with these records goes; what could not be kept of it
   is tried again from time to time. */
void door_cut(uint64_t first, uint64_t end);
void door_tick(void);
int door_line(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* ---- names that were being changed when fuse died (torn.c) */
/* At a takeover, before anything else is done. */
void torn_mend(void);
/* E_WAIT: the content of what lost its name is being asked for. */
int torn_wait(void);

/* ---- answers from the journal (resent.c): 1: answered */
int resent_answer(fuse_req_t);

/* ---- operations by family */
void op_lookup(fuse_req_t, fuse_ino_t, const char *);
void op_forget(fuse_req_t, fuse_ino_t, uint64_t);
void op_forget_multi(fuse_req_t, size_t, struct fuse_forget_data *);
void op_getattr(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_setattr(fuse_req_t, fuse_ino_t, struct stat *, int,
    struct fuse_file_info *);
void op_readlink(fuse_req_t, fuse_ino_t);
void op_mknod(fuse_req_t, fuse_ino_t, const char *, mode_t, dev_t);
void op_mkdir(fuse_req_t, fuse_ino_t, const char *, mode_t);
void op_symlink(fuse_req_t, const char *, fuse_ino_t, const char *);
void op_unlink(fuse_req_t, fuse_ino_t, const char *);
void op_rmdir(fuse_req_t, fuse_ino_t, const char *);
void op_rename(fuse_req_t, fuse_ino_t, const char *, fuse_ino_t, const char *,
    unsigned int);
void op_link(fuse_req_t, fuse_ino_t, fuse_ino_t, const char *);
void op_create(fuse_req_t, fuse_ino_t, const char *, mode_t,
    struct fuse_file_info *);
void op_open(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_read(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void op_write(fuse_req_t, fuse_ino_t, const char *, size_t, off_t,
    struct fuse_file_info *);
void op_release(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_fsync(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);
/* Answers when the file is safe from a loss of power, a write with what it wrote
   (fuse_sync.c). */
void sync_begin(fuse_req_t, struct vn *, uint64_t fh, int is_write,
    size_t wrote);
/* After a sync of the journal that failed: what is to be in it until manifest can
   say that all is safe; anew: it may not have heard of that. */
void sync_mend(int anew);
/* Where nobody knows how the one before went: when manifest has applied more, and
   from time to time. */
void sync_go_on(void);
/* The handle wants that of each change. */
int sync_wanted(const struct fuse_file_info *);
void op_fallocate(fuse_req_t, fuse_ino_t, int, off_t, off_t,
    struct fuse_file_info *);
void op_copy_file_range(fuse_req_t, fuse_ino_t, off_t, struct fuse_file_info *,
    fuse_ino_t, off_t, struct fuse_file_info *, size_t, int);
void op_lseek(fuse_req_t, fuse_ino_t, off_t, int, struct fuse_file_info *);
void op_statfs(fuse_req_t, fuse_ino_t);
void op_opendir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_readdir(fuse_req_t, fuse_ino_t, size_t, off_t, struct fuse_file_info *);
void op_readdirplus(fuse_req_t, fuse_ino_t, size_t, off_t,
    struct fuse_file_info *);
void op_releasedir(fuse_req_t, fuse_ino_t, struct fuse_file_info *);
void op_fsyncdir(fuse_req_t, fuse_ino_t, int, struct fuse_file_info *);
void op_setxattr(fuse_req_t, fuse_ino_t, const char *, const char *, size_t,
    int);
void op_getxattr(fuse_req_t, fuse_ino_t, const char *, size_t);
void op_listxattr(fuse_req_t, fuse_ino_t, size_t);
void op_removexattr(fuse_req_t, fuse_ino_t, const char *);
struct fuse_open_out;
/* Opens a file, which has a slot; 0 and the answer. */
int file_open_handle(struct vn *, uint32_t flags, struct fuse_open_out *);
/* The first handle of a file is about to be answered: its content goes before
   (fuse_push.c). */
void file_push(struct vn *, uint32_t flags, const struct fuse_open_out *);
/* It was read: do others come soon (fuse_ahead.c)? */
void file_ahead(struct vn *);
/* Answers a CREATE; -1: the kernel did not take it, and the handle is freed. */
int file_reply_create(fuse_req_t, struct vn *, struct fuse_entry_param *,
    const struct fuse_open_out *);

/* ---- room for what is written (fuse_room.c) */
void room_init(void);
/* There is none, but nobody waits for it. */
void room_wanted(void);
/* Who waits goes on waiting; and asks the next. */
void room_cache_gone(void);
void room_cache_came(void);
int room_rules_res(struct chan *, uint32_t, struct imsg *, struct ibuf *);

/* ---- reload and commit (switch.c) */
int switch_sync(struct chan *, uint32_t, struct imsg *, struct ibuf *);
void switch_synced(uint32_t id); /* it may be answered now */
int switch_open(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int switch_unlink(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int switch_reload(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int switch_switch(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int switch_cache_put(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int switch_settle(struct chan *, uint32_t, struct imsg *, struct ibuf *);
int switch_let_go(struct chan *, uint32_t, struct imsg *, struct ibuf *);
/* An object came; -1: what waited for it was not as it must be. */
int switch_go_on(void);
void switch_put_done(uint32_t id, int error);
void switch_cache_gone(void);
void switch_manifest_gone(void);
/* ---- what is open before a reload (origins.c) */
/* 1: manifest is asked, and switch_go_on() comes.  again: not more than was. */
int origins_ask(int again);
/* SWITCH says where objects came from before it: -1, it is not sound.  The bytes
   stay until origins_end(). */
int origins_begin(const void *, size_t);
int origins_was(uint64_t ovl, struct diff_origin *); /* 1: it says so */
void origins_end(void);

/* A new base, epoch and root. */
int frontend_set_start(const struct start *);
/* The inode table is as that says: programs go on. */
void frontend_switched(void);

#endif
