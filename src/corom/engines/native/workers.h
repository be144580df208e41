/* Threads that share a batch: they do the same steps on their own parts and meet in between. */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct {
    _Atomic int arrived, round;
} Barrier;

/* One of those that share a batch. */
typedef struct {
    size_t rank, ranks;
    Barrier *barrier;
} Worker;

typedef void (*Work)(const Worker *, const void *task);

/* The calling thread and its helpers, who sleep until there is work. */
typedef struct Team {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Barrier barrier;
    Work work;
    const void *task;
    size_t ranks;
    int round, closed;
    struct Helper {
        struct Team *team;
        size_t rank;
        pthread_t thread;
    } helper[];
} Team;

/* Wait for all others. */
static void meet(const Worker *worker)
{
    if (worker->ranks == 1) return;
    Barrier *barrier = worker->barrier;
    const int round = atomic_load(&barrier->round);
    if (atomic_fetch_add(&barrier->arrived, 1) + 1 == (int)worker->ranks) {
        atomic_store(&barrier->arrived, 0);
        atomic_fetch_add(&barrier->round, 1);
        return;
    }
    for (int spins = 0; atomic_load(&barrier->round) == round; spins++)
        if (spins < 4096)
            __builtin_ia32_pause();
        else
            sched_yield(); /* the other may be waiting for this very core */
}

typedef struct {
    size_t from, to;
} Range;

static Range share_of(size_t count, const Worker *worker)
{
    return (Range){count * worker->rank / worker->ranks,
                   count * (worker->rank + 1) / worker->ranks};
}

static void *help(void *given)
{
    const struct Helper *helper = given;
    Team *team = helper->team;
    const Worker worker = {helper->rank, team->ranks, &team->barrier};
    for (int seen = 0;;) {
        pthread_mutex_lock(&team->lock);
        while (team->round == seen && !team->closed) pthread_cond_wait(&team->changed, &team->lock);
        seen = team->round;
        const int closed = team->closed;
        pthread_mutex_unlock(&team->lock);
        if (closed) return NULL;
        team->work(&worker, team->task);
        meet(&worker);
    }
}

/* Return when all have done their part; without a team, the calling thread does it all. */
static void work_together(Team *team, Work work, const void *task)
{
    const Worker alone = {0, 1, NULL};
    if (!team) {
        work(&alone, task);
        return;
    }
    const Worker worker = {0, team->ranks, &team->barrier};
    pthread_mutex_lock(&team->lock);
    team->work = work;
    team->task = task;
    team->round++;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
    work(&worker, task);
    meet(&worker);
}

void corom_close(Team *team)
{
    pthread_mutex_lock(&team->lock);
    team->closed = 1;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
    for (size_t i = 0; i + 1 < team->ranks; i++) pthread_join(team->helper[i].thread, NULL);
    free(team);
}

/* Start a team of `ranks`; NULL if there is no memory or no thread to be had. */
Team *corom_team(size_t ranks)
{
    Team *team = calloc(1, sizeof(Team) + ranks * sizeof(struct Helper));
    if (!team) return NULL;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->changed, NULL);
    team->ranks = ranks;
    for (size_t i = 0; i + 1 < ranks; i++) {
        team->helper[i].team = team;
        team->helper[i].rank = i + 1;
        if (pthread_create(&team->helper[i].thread, NULL, help, &team->helper[i])) {
            team->ranks = i + 1; /* those that run */
            corom_close(team);
            return NULL;
        }
    }
    return team;
}
