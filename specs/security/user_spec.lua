describe("a user", function()
  it("is registered", function()
    aggregate("user", "ada")
      :when   { RegisterUser { name = "Ada" } }
      :expect { UserRegistered { name = "Ada" } }
  end)

  it("is registered once", function()
    aggregate("user", "ada")
      :given   { UserRegistered { name = "Ada" } }
      :when    { RegisterUser { name = "Ada" } }
      :rejects "exists"
  end)

  it("can be removed, once", function()
    aggregate("user", "ada")
      :given  { UserRegistered { name = "Ada" } }
      :when   { RemoveUser {} }
      :expect { UserRemoved {} }
    aggregate("user", "ada")
      :given   { UserRegistered { name = "Ada" }, UserRemoved {} }
      :when    { RemoveUser {} }
      :rejects "unknown"
  end)

  it("is shown with all logins, until it is removed", function()
    projection "users"
      :given  { on("ada", UserRegistered { name = "Ada" }), on("eve", UserRegistered { name = "Eve" }),
                at("2026-01-02", on("ada@example.com", PasswordAdded { user_id = "ada", hash = "$2b$1" })),
                on("eve", UserRemoved {}) }
      :expect { ada = { name = "Ada", logins = { ["ada@example.com"] = "2026-01-02T00:00:00.000Z" } } }
  end)
end)
