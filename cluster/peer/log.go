package peer

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// refusedEvery bounds what strangers can make this node write: one line in so long.
	refusedEvery = time.Second
	// expirySoon is how long before its end a certificate is warned about, once a day.
	expirySoon     = 14 * 24 * time.Hour
	expiryReminder = 24 * time.Hour
)

// sparingLogger lets nobody fill the log from outside.
type sparingLogger struct {
	logger hclog.Logger

	mu       sync.Mutex
	last     time.Time
	silenced int
	reminded time.Time
}

func (l *sparingLogger) info(message string, args ...any)  { l.logger.Info(message, args...) }
func (l *sparingLogger) error(message string, args ...any) { l.logger.Error(message, args...) }

// refused tells of a connection that was turned away. One that only looked whether the port is open is not worth a line, nor is
// one that came before this node had been taken into the cluster.
func (l *sparingLogger) refused(message string, err error) {
	var refused *RefusedError
	if errors.Is(err, io.EOF) || errors.As(err, &refused) && refused.Reason == NoCluster {
		l.logger.Debug(message, "error", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last) < refusedEvery {
		l.silenced++
		return
	}
	l.logger.Warn(message, "error", err, "and_before", l.silenced)
	l.last, l.silenced = now, 0
}

// expiry warns of a certificate that ends soon or has ended.
func (l *sparingLogger) expiry(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	left := at.Sub(now)
	if left > expirySoon || now.Sub(l.reminded) < expiryReminder {
		return
	}
	l.reminded = now
	if left <= 0 {
		l.logger.Error("the certificate of this node has expired: no other node talks to it", "expired", at)
		return
	}
	l.logger.Warn("the certificate of this node expires soon: replace its files", "expires", at)
}
