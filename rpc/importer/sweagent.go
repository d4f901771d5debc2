package importer

// sweAgent reads SWE-agent trajectories. They keep their messages under history and mark them with action or
// message_type, or have a trajectory beside them.
type sweAgent struct{}

func (sweAgent) claims(h head) claim {
	it := h.first()
	list, key := chatMessages(it)
	if list == nil || key != "history" {
		return claimNone
	}
	_, trajectory := it.fields["trajectory"]
	return claimIf(trajectory || anyMessage(list, func(f fields) bool { return f.present("action") || f.present("message_type") }))
}

func (sweAgent) read(it *item, out *scribe) error {
	readChat(it, out, dialect{actions: true, stepsKey: "trajectory"})
	return nil
}
