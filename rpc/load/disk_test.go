package load

import (
	"os"
	"testing"
	"time"
)

func TestTheDiskIsMeasuredAndLeftAsItWas(t *testing.T) {
	folder := t.TempDir()
	d, err := MeasureDisk(t.Context(), folder, 256, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if d.Log.P50 <= 0 || d.Sync.P50 <= 0 {
		t.Errorf("%+v", d)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
