package importer

// The formats. Each of them is recognised by content under FormatAuto; naming one reads what it can and refuses the rest.
const (
	// FormatSWEAgent is a SWE-agent trajectory: OpenAI chat messages under history, whose text variants carry tool
	// calls in action and tool results in the user message that follows.
	FormatSWEAgent Format = "swe-agent"
	// FormatOASST is a tree of OpenAssistant messages.
	FormatOASST Format = "oasst"
	// FormatToolBench is a search tree of ToolBench.
	FormatToolBench Format = "toolbench"
	// FormatInterCode is results of InterCode: tasks with actions and observations.
	FormatInterCode Format = "intercode"
	// FormatTaskmaster is dialogs of Taskmaster-4, with calls in annotations.
	FormatTaskmaster Format = "taskmaster"
	// FormatPromptCSV is a table of prompt templates: CSV with the columns act and prompt, and ${name:default} in the texts.
	FormatPromptCSV Format = "prompt-csv"
	// FormatShareGPT is ShareGPT: messages of {from, value}.
	FormatShareGPT Format = "sharegpt"
	// FormatKdConv is KdConv: messages without roles, whose speakers take turns.
	FormatKdConv Format = "kdconv"
	// FormatClaudeCode is the session logs of Claude Code: one message a line, in a tree, of one session or several.
	FormatClaudeCode Format = "claude-code"
	// FormatPiMono is the session logs of the pi coding agent.
	FormatPiMono Format = "pi-mono"
	// FormatOpenHands is the event streams of OpenHands: actions and observations, joined by cause.
	FormatOpenHands Format = "openhands"
	// FormatAnthropic is messages of the Anthropic API: requests with their system text beside the messages, logs of
	// {request, response}, and lists of messages made of blocks (text, tool_use, tool_result, thinking, …).
	FormatAnthropic Format = "anthropic"
	// FormatOpenAI is OpenAI chat messages: a list of {role, content, tool_calls, …}, bare or under the key messages,
	// conversations, traj or history, alone, in an array, or one a line.
	FormatOpenAI Format = "openai"
	// FormatOpenAILines is FormatOpenAI read line by line whatever the file looks like.
	FormatOpenAILines Format = "openai-jsonl"
)

// formatTable lists the formats in order of preference: the first one that claims an item reads it, so the narrow ones
// come first and those that read almost anything last. Those of unitFile and unitText are asked once for each file,
// before the others.
func formatTable() []formatRow {
	return []formatRow{
		{FormatClaudeCode, claudeCode{}, unitFile, "claude-code/1"},
		{FormatPiMono, piMono{}, unitFile, "pi-mono/1"},
		{FormatOpenHands, openHands{}, unitValue, "openhands/1"},
		{FormatSWEAgent, sweAgent{}, unitValue, "1"},
		{FormatOASST, oasst{}, unitValue, "oasst/1"},
		{FormatToolBench, toolBench{}, unitValue, "toolbench/1"},
		{FormatInterCode, interCode{}, unitValue, "intercode/1"},
		{FormatTaskmaster, taskmaster{}, unitValue, "taskmaster/1"},
		{FormatPromptCSV, promptCSV{}, unitText, "prompt-csv/1"},
		{FormatShareGPT, shareGPT{}, unitValue, "sharegpt/1"},
		{FormatKdConv, kdConv{}, unitValue, "1"},
		{FormatAnthropic, anthropic{}, unitValue, "anthropic/1"},
		{FormatOpenAI, openAI{}, unitValue, "1"},
	}
}
