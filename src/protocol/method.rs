//! The methods of MCP that this gateway knows.

/// A method by name. What is not here is unknown and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Opens a session, before 2026-07-28.
    Initialize,
    /// Asks what a server is, from 2026-07-28.
    Discover,
    /// Asks whether anyone is there, before 2026-07-28.
    Ping,
    /// Sets the log level of a session, before 2026-07-28.
    SetLevel,
    /// Lists tools.
    ToolsList,
    /// Calls a tool.
    ToolsCall,
    /// Lists prompts.
    PromptsList,
    /// Gets a prompt.
    PromptsGet,
    /// Lists resources.
    ResourcesList,
    /// Lists templates of resources.
    TemplatesList,
    /// Reads a resource.
    ResourcesRead,
    /// Completes an argument of a prompt or a template.
    Complete,
    /// Wants to hear when a resource changes, before 2026-07-28.
    Subscribe,
    /// Wants to hear no more of it, before 2026-07-28.
    Unsubscribe,
    /// Wants to hear of changes on the stream of the request, from 2026-07-28.
    Listen,
    /// Asks how a task stands.
    TasksGet,
    /// Brings a task the answers it waits for, from 2026-07-28.
    TasksUpdate,
    /// Cancels a task.
    TasksCancel,
    /// Waits for the result of a task, before 2026-07-28.
    TasksResult,
    /// Lists tasks, before 2026-07-28.
    TasksList,
}

impl Method {
    const ALL: [Self; 20] = [
        Self::Initialize,
        Self::Discover,
        Self::Ping,
        Self::SetLevel,
        Self::ToolsList,
        Self::ToolsCall,
        Self::PromptsList,
        Self::PromptsGet,
        Self::ResourcesList,
        Self::TemplatesList,
        Self::ResourcesRead,
        Self::Complete,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Listen,
        Self::TasksGet,
        Self::TasksUpdate,
        Self::TasksCancel,
        Self::TasksResult,
        Self::TasksList,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Discover => "server/discover",
            Self::Ping => "ping",
            Self::SetLevel => "logging/setLevel",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::TemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::Complete => "completion/complete",
            Self::Subscribe => "resources/subscribe",
            Self::Unsubscribe => "resources/unsubscribe",
            Self::Listen => "subscriptions/listen",
            Self::TasksGet => "tasks/get",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::TasksResult => "tasks/result",
            Self::TasksList => "tasks/list",
        }
    }

    /// The method with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// The key of a list result that holds the items; `None` for what is no list.
    pub fn list_key(self) -> Option<&'static str> {
        match self {
            Self::ToolsList => Some("tools"),
            Self::PromptsList => Some("prompts"),
            Self::ResourcesList => Some("resources"),
            Self::TemplatesList => Some("resourceTemplates"),
            Self::Initialize
            | Self::Discover
            | Self::Ping
            | Self::SetLevel
            | Self::ToolsCall
            | Self::PromptsGet
            | Self::ResourcesRead
            | Self::Complete
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Listen
            | Self::TasksGet
            | Self::TasksUpdate
            | Self::TasksCancel
            | Self::TasksResult
            | Self::TasksList => None,
        }
    }

    /// Whether it is about a task that a call made.
    pub fn is_about_tasks(self) -> bool {
        match self {
            Self::TasksGet
            | Self::TasksUpdate
            | Self::TasksCancel
            | Self::TasksResult
            | Self::TasksList => true,
            Self::Initialize
            | Self::Discover
            | Self::Ping
            | Self::SetLevel
            | Self::ToolsList
            | Self::ToolsCall
            | Self::PromptsList
            | Self::PromptsGet
            | Self::ResourcesList
            | Self::TemplatesList
            | Self::ResourcesRead
            | Self::Complete
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Listen => false,
        }
    }

    /// The key of `params` that the `Mcp-Name` header repeats (2026-07-28, transport).
    pub fn name_key(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead => Some("uri"),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel => Some("taskId"),
            Self::Initialize
            | Self::Discover
            | Self::Ping
            | Self::SetLevel
            | Self::ToolsList
            | Self::PromptsList
            | Self::ResourcesList
            | Self::TemplatesList
            | Self::Complete
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Listen
            | Self::TasksResult
            | Self::TasksList => None,
        }
    }
}
