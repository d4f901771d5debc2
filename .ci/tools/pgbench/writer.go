package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// schema is what our queries need: a node by id, the nodes of a session and of the whole graph by type and time, the edges of a
// node in both directions. No foreign keys: they would cost PostgreSQL a look-up each. The caller makes the ids, and makes
// them ascend, which spares the indexes of ids.
const schema = `
create table sessions (id uuid primary key, created_at timestamptz not null, updated_at timestamptz not null, tail uuid);
create table nodes (
	id uuid primary key, session_id uuid not null, type smallint not null, created_at timestamptz not null,
	position bigint generated always as identity, content text not null
);
create index on nodes (session_id, type, created_at desc, position desc);
create index on nodes (type, created_at desc, position desc);
create table edges (
	id uuid primary key, from_id uuid not null, to_id uuid not null, type smallint not null, created_at timestamptz not null,
	position bigint generated always as identity
);
create index on edges (from_id, type, position);
create index on edges (to_id, type, position);
create function add_prompt(in_session uuid, in_id uuid, in_edges uuid[], in_content text) returns void language plpgsql as $$
declare
	before uuid;
begin
	select tail into strict before from sessions where id = in_session for update;
	update sessions set tail = in_id, updated_at = now() where id = in_session;
	insert into nodes (id, session_id, type, created_at, content) values (in_id, in_session, 2, now(), in_content);
	if before is null then
		insert into edges (id, from_id, to_id, type, created_at) values (in_edges[1], in_id, in_session, 1, now());
	else
		insert into edges (id, from_id, to_id, type, created_at)
		values (in_edges[1], in_id, in_session, 1, now()), (in_edges[2], in_id, before, 3, now());
	end if;
end $$;
`

// A written is a prompt whose transaction was committed.
type written struct {
	id   [16]byte
	seed uint64
}

// A writer adds prompts to a session of its own, so that no two wait for each other's row.
type writer struct {
	session pgtype.UUID
	seed    uint64
	size    int
	written []written
	latency *hdrhistogram.Histogram
}

func newWriter(seed uint64, size int) *writer {
	return &writer{session: newID(), seed: seed, size: size, latency: newHistogram()}
}

// newID makes a UUIDv7.
func newID() pgtype.UUID {
	u := pgtype.UUID{Valid: true}
	_, _ = rand.Read(u.Bytes[6:]) // never fails
	ms := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(u.Bytes[:], uint32(ms>>16))
	binary.BigEndian.PutUint16(u.Bytes[4:], uint16(ms))
	u.Bytes[6] = u.Bytes[6]&0x0f | 0x70
	u.Bytes[8] = u.Bytes[8]&0x3f | 0x80
	return u
}

// run writes until the given moment and counts what ends from the other on.
func (w *writer) run(ctx context.Context, pool *pgxpool.Pool, from, to time.Time) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var text []byte
	for start := time.Now(); start.Before(to); {
		w.seed++
		id := newID()
		text = appendText(text[:0], w.seed, w.size)
		if _, err := conn.Exec(ctx, "select add_prompt($1, $2, $3, $4)", w.session, id, []pgtype.UUID{newID(), newID()}, string(text)); err != nil {
			return fmt.Errorf("add_prompt: %w", err)
		}
		w.written = append(w.written, written{id.Bytes, w.seed})
		now := time.Now()
		if !now.Before(from) && now.Before(to) {
			_ = w.latency.RecordValue(max(1, now.Sub(start).Microseconds())) // ten minutes are enough
		}
		start = now
	}
	return nil
}

// readBack compares all that was acknowledged with what is there.
func readBack(ctx context.Context, pool *pgxpool.Pool, writers []*writer) (count int64, err error) {
	var text []byte
	for _, w := range writers {
		rows, err := pool.Query(ctx, "select id, content from nodes where session_id = $1 order by position", w.session)
		if err != nil {
			return count, err
		}
		n := 0
		for ; rows.Next(); n++ {
			var id pgtype.UUID
			var content string
			if err := rows.Scan(&id, &content); err != nil {
				rows.Close()
				return count, err
			}
			if n >= len(w.written) || id.Bytes != w.written[n].id || content != string(appendText(text[:0], w.written[n].seed, w.size)) {
				rows.Close()
				return count, fmt.Errorf("row %d of a session is not what was committed", n)
			}
		}
		if err := rows.Err(); err != nil {
			return count, err
		}
		if n != len(w.written) {
			return count, fmt.Errorf("%d rows in a session, %d were committed", n, len(w.written))
		}
		count += int64(n)
	}
	var edges int64
	if err := pool.QueryRow(ctx, "select count(*) from edges").Scan(&edges); err != nil {
		return count, err
	}
	for _, w := range writers {
		edges -= int64(max(0, 2*len(w.written)-1))
	}
	if edges != 0 {
		return count, fmt.Errorf("%d edges more than were committed", edges)
	}
	return count, nil
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ."

// appendText makes the same contents as rpc/load does.
func appendText(b []byte, seed uint64, size int) []byte {
	for state := seed; size > 0; size -= min(size, 10) {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		for range min(size, 10) {
			b = append(b, alphabet[z&63])
			z >>= 6
		}
	}
	return b
}
