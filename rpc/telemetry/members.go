package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Members is where a node stands in its cluster.
type Members struct {
	// Leads: this node leads. HasLeader: it knows who does.
	Leads, HasLeader bool
	Term             uint64
	// Committed and Applied are indexes of log entries.
	Committed, Applied uint64
	// Contact is since this node heard from the leader, 0 on the leader; negative for never.
	Contact time.Duration
	// Voters and NonVoters are those of the configuration.
	Voters, NonVoters int
	// Forwarded counts commands that went to the leader, ReadIndexes those that this node, leading, found for others.
	Forwarded, ReadIndexes uint64
	// Quarantined: the state of this node is not that of the others.
	Quarantined bool
	// Others are the other members, on the leader; none elsewhere.
	Others []Member
	// CertificateExpires is when the certificate that this node shows to peers ends; zero for never, or without one.
	CertificateExpires time.Time
}

// Member is another member as the leader knows it.
type Member struct {
	ID string
	// Lag is how many log entries it is not known to have.
	Lag uint64
	// Silence is since the leader sent the newest of what the member has answered; negative for never in this term.
	Silence time.Duration
}

// memberMetrics ask the node when they are scraped.
type memberMetrics struct {
	read                                            func() (Members, error)
	leads, known, term, committed, applied, contact *prometheus.Desc
	members, forwarded, readIndexes, quarantined    *prometheus.Desc
	lag, silence, expires                           *prometheus.Desc
}

func newMemberMetrics(read func() (Members, error)) *memberMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_cluster_"+name, help+" As this node sees it.", labels, nil)
	}
	return &memberMetrics{
		read:      read,
		leads:     desc("leads", "1 while this node leads."),
		known:     desc("leader_known", "1 while there is a leader."),
		term:      desc("term", "Raft's term: it grows with each election."),
		committed: desc("committed_index", "The newest log entry that is agreed upon."),
		applied:   desc("applied_index", "The newest log entry that is in the rows."),
		contact:   desc("leader_contact_seconds", "Since this node heard from the leader; 0 on the leader, absent before the first time."),
		members:   desc("members", "Members of the configuration, by role.", "role"),

		forwarded:   desc("commands_forwarded_total", "Commands that this node took to the leader, each try."),
		readIndexes: desc("read_indexes_answered_total", "Read indexes that this node, leading, found for others."),
		quarantined: desc("quarantined", "1 while the state of this node is not that of the others: it serves nothing."),
		lag:         desc("member_lag", "Log entries that a member is not known to have, on the leader.", "member"),
		silence:     desc("member_silence_seconds", "Since the leader sent the newest of what a member has answered, on the leader.", "member"),
		expires: prometheus.NewDesc(namespace+"_peer_certificate_expiry_timestamp_seconds",
			"When the certificate that this node shows to peers ends, in Unix seconds; absent for one made of a secret, which does not.", nil, nil),
	}
}

// Describe tells Prometheus what comes.
func (m *memberMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{m.leads, m.known, m.term, m.committed, m.applied, m.contact, m.members,
		m.forwarded, m.readIndexes, m.quarantined, m.lag, m.silence, m.expires} {
		to <- desc
	}
}

// Collect asks the node. One that cannot tell spoils these figures, not the scrape.
func (m *memberMetrics) Collect(to chan<- prometheus.Metric) {
	now, err := m.read()
	if err != nil {
		to <- prometheus.NewInvalidMetric(m.leads, err)
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.leads, truth(now.Leads))
	gauge(m.known, truth(now.HasLeader))
	gauge(m.term, float64(now.Term))
	gauge(m.committed, float64(now.Committed))
	gauge(m.applied, float64(now.Applied))
	if now.Contact >= 0 {
		gauge(m.contact, now.Contact.Seconds())
	}
	gauge(m.members, float64(now.Voters), "voter")
	gauge(m.members, float64(now.NonVoters), "non-voter")
	to <- prometheus.MustNewConstMetric(m.forwarded, prometheus.CounterValue, float64(now.Forwarded))
	to <- prometheus.MustNewConstMetric(m.readIndexes, prometheus.CounterValue, float64(now.ReadIndexes))
	gauge(m.quarantined, truth(now.Quarantined))
	for _, other := range now.Others {
		gauge(m.lag, float64(other.Lag), other.ID)
		if other.Silence >= 0 {
			gauge(m.silence, other.Silence.Seconds(), other.ID)
		}
	}
	if !now.CertificateExpires.IsZero() {
		gauge(m.expires, float64(now.CertificateExpires.Unix()))
	}
}

// truth is 1 or 0.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
