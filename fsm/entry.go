package fsm

import "fmt"

// VerifyEntry reports why a replica could not apply the data of a log entry; empty data is that of an entry without commands.
func VerifyEntry(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	commands, err := DecodeEntry(data)
	if err != nil {
		return err
	}
	for i, c := range commands {
		if _, err := DecodeCommand(c.Command); err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
	}
	return nil
}
