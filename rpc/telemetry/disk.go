package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Disk is how full the disk of a node is, bytes, and what was found damaged on it.
type Disk struct {
	Free, Reserve, Ballast uint64
	// Refusing: the node takes no writes.
	Refusing bool
	// DamagedStores were moved aside and are still there.
	DamagedStores int
}

// diskMetrics read the disk of this node when they are scraped.
type diskMetrics struct {
	read                                      func() Disk
	free, reserve, ballast, refusing, damaged *prometheus.Desc
}

func newDiskMetrics(read func() Disk) *diskMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(namespace+"_"+name, help+" Of this node.", nil, nil)
	}
	return &diskMetrics{
		read:     read,
		free:     desc("disk_free_bytes", "What is free on the disk of the data folder, as of the last second."),
		reserve:  desc("disk_reserve_bytes", "What is to stay free there: below it writes are refused."),
		ballast:  desc("disk_ballast_bytes", "What the ballast file holds, to be freed for the store on a full disk."),
		refusing: desc("disk_refusing", "1 while writes are refused because the disk is too full."),
		damaged:  desc("damaged_stores", "Stores that were damaged, moved aside, and are still in the data folder."),
	}
}

// Describe tells Prometheus what comes.
func (d *diskMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.free, d.reserve, d.ballast, d.refusing, d.damaged} {
		to <- desc
	}
}

// Collect reads the disk.
func (d *diskMetrics) Collect(to chan<- prometheus.Metric) {
	now := d.read()
	gauge := func(desc *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	gauge(d.free, float64(now.Free))
	gauge(d.reserve, float64(now.Reserve))
	gauge(d.ballast, float64(now.Ballast))
	refusing := 0.0
	if now.Refusing {
		refusing = 1
	}
	gauge(d.refusing, refusing)
	gauge(d.damaged, float64(now.DamagedStores))
}
