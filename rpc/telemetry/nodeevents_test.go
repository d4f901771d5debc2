package telemetry

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestWhatANodeTells: each thing is counted under its name, and what is known beforehand is there from the first scrape.
func TestWhatANodeTells(t *testing.T) {
	e := NewNodeEvents()
	m := New(Options{Events: e, Members: func() (Members, error) {
		return Members{
			Forwarded: 7, ReadIndexes: 8, Quarantined: true, CertificateExpires: time.Unix(1_800_000_000, 0),
			Others: []Member{{ID: "n2", Lag: 3, Silence: 2 * time.Second}, {ID: "n3", Lag: 9, Silence: -1}},
		}, nil
	}})
	want := func(lines ...string) {
		t.Helper()
		text := scrape(t, m)
		for _, line := range lines {
			if !strings.Contains(text, "\nmemory_graph_"+line+"\n") {
				t.Errorf("no line %s", line)
			}
		}
	}
	want(`cluster_digest_comparisons_total{result="differ"} 0`, `cluster_read_index_failures_total{asked="leader"} 0`,
		`cluster_read_index_seconds_count{asked="majority"} 0`, `peer_secret_reloads_total{result="failed"} 0`,
		"cluster_commands_forwarded_total 7", "cluster_read_indexes_answered_total 8", "cluster_quarantined 1",
		`cluster_member_lag{member="n2"} 3`, `cluster_member_lag{member="n3"} 9`, `cluster_member_silence_seconds{member="n2"} 2`,
		"peer_certificate_expiry_timestamp_seconds 1.8e+09")
	if strings.Contains(scrape(t, m), `silence_seconds{member="n3"}`) {
		t.Error("a member that has not answered yet has a silence")
	}

	failed := errors.New("no")
	e.LeaderChanged()
	e.Elected()
	e.Clock(-6 * time.Second)
	e.MemberChange("promote", nil)
	e.MemberChange("promote", failed)
	e.Compared(0, false)
	e.Compared(1, false)
	e.Compared(0, true)
	e.ReadIndex(true, time.Millisecond, nil)
	e.ReadIndex(false, time.Millisecond, failed)
	e.Certificates(failed)
	e.Secrets(nil)
	e.PeerRefused()
	want("cluster_leader_changes_total 1", "cluster_elections_total 1", "cluster_clock_alarms_total 1", "cluster_clock_ahead_seconds -6",
		`cluster_member_changes_total{change="promote",result="ok"} 1`, `cluster_member_changes_total{change="promote",result="failed"} 1`,
		`cluster_digest_comparisons_total{result="equal"} 1`, `cluster_digest_comparisons_total{result="differ"} 1`,
		`cluster_digest_comparisons_total{result="disputed"} 1`, `cluster_read_index_seconds_count{asked="leader"} 1`,
		`cluster_read_index_failures_total{asked="majority"} 1`, `peer_certificate_reloads_total{result="failed"} 1`,
		`peer_secret_reloads_total{result="ok"} 1`, "peer_refused_total 1")
}
